/* error_class.c: answers as the upstreams of this world give them, whole, cut off anywhere, in any case. */
#include "llm/error_class.h"
#include "llm/test.h"

static const struct row {
    int status;
    const char *body;
    enum error_class want;
} rows[] = {
    /* the status alone */
    {0, "", CLASS_UNREACHABLE},
    {0, "connection refused", CLASS_UNREACHABLE},
    {200, "", CLASS_NONE},
    {204, "", CLASS_NONE},
    {301, "", CLASS_OTHER},
    {400, "", CLASS_CLIENT},
    {401, "", CLASS_AUTH},
    {402, "", CLASS_QUOTA},
    {403, "", CLASS_AUTH},
    {404, "", CLASS_UNSUPPORTED},
    {405, "", CLASS_UNSUPPORTED},
    {408, "", CLASS_UNREACHABLE},
    {409, "", CLASS_UNREACHABLE},
    {413, "", CLASS_CLIENT},
    {415, "", CLASS_CLIENT},
    {422, "", CLASS_CLIENT},
    {425, "", CLASS_UNREACHABLE},
    {429, "", CLASS_RATE_LIMITED},
    {500, "", CLASS_OTHER},
    {501, "", CLASS_UNSUPPORTED},
    {502, "<html><h1>502 Bad Gateway</h1></html>", CLASS_UNREACHABLE},
    {503, "", CLASS_UNREACHABLE},
    {504, "", CLASS_UNREACHABLE},
    {505, "", CLASS_OTHER},
    {524, "", CLASS_UNREACHABLE},
    {529, "", CLASS_UNREACHABLE},
    {999, "", CLASS_OTHER},
    {-1, "", CLASS_OTHER},
    /* OpenAI */
    {400,
     "{\"error\":{\"message\":\"This model's maximum context length is 8192 tokens. However, your messages "
     "resulted in 9001.\",\"type\":\"invalid_request_error\",\"param\":\"messages\","
     "\"code\":\"context_length_exceeded\"}}",
     CLASS_CONTEXT_LENGTH},
    {400,
     "{\"error\":{\"message\":\"Invalid 'input': string too long.\",\"type\":\"invalid_request_error\","
     "\"param\":\"input\",\"code\":\"string_above_max_length\"}}",
     CLASS_CONTEXT_LENGTH},
    {400,
     "{\"error\":{\"message\":\"Your request was rejected as a result of our safety system.\",\"type\":"
     "\"image_generation_user_error\",\"param\":null,\"code\":\"moderation_blocked\"}}",
     CLASS_POLICY},
    {400,
     "{\"error\":{\"message\":\"Invalid prompt: your prompt was flagged as potentially violating our usage "
     "policy.\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"invalid_prompt\"}}",
     CLASS_POLICY},
    {400,
     "{\"error\":{\"message\":\"Unsupported value: 'temperature' does not support 0 with this model.\","
     "\"type\":\"invalid_request_error\",\"param\":\"temperature\",\"code\":\"unsupported_value\"}}",
     CLASS_CLIENT},
    {400,
     "{\"error\":{\"message\":\"Billing hard limit has been reached\",\"type\":\"invalid_request_error\","
     "\"param\":null,\"code\":\"billing_hard_limit_reached\"}}",
     CLASS_QUOTA},
    {401,
     "{\"error\":{\"message\":\"Incorrect API key provided: sk-x.\",\"type\":\"invalid_request_error\","
     "\"param\":null,\"code\":\"invalid_api_key\"}}",
     CLASS_AUTH},
    {404,
     "{\"error\":{\"message\":\"The model `gpt-9` does not exist or you do not have access to it.\","
     "\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"model_not_found\"}}",
     CLASS_UNSUPPORTED},
    {429,
     "{\"error\":{\"message\":\"Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Used "
     "29000. Please try again in 2s.\",\"type\":\"tokens\",\"param\":null,\"code\":\"rate_limit_exceeded\"}}",
     CLASS_RATE_LIMITED},
    {429,
     "{\"error\":{\"message\":\"You exceeded your current quota, please check your plan and billing "
     "details.\",\"type\":\"insufficient_quota\",\"param\":null,\"code\":\"insufficient_quota\"}}",
     CLASS_QUOTA},
    {500,
     "{\"error\":{\"message\":\"The server had an error while processing your request.\",\"type\":"
     "\"server_error\",\"param\":null,\"code\":null}}",
     CLASS_OTHER},
    /* Azure */
    {400,
     "{\"error\":{\"message\":\"The response was filtered due to the prompt triggering Azure OpenAI's "
     "content management policy.\",\"type\":null,\"param\":\"prompt\",\"code\":\"content_filter\",\"status\":"
     "400,\"innererror\":{\"code\":\"ResponsibleAIPolicyViolation\",\"content_filter_result\":{\"hate\":{"
     "\"filtered\":true,\"severity\":\"high\"}}}}}",
     CLASS_POLICY},
    {400, "{\"error\":{\"code\":null,\"innererror\":{\"code\":\"ResponsibleAIPolicyViolation\"}}}",
     CLASS_POLICY},
    {404, "{\"error\":{\"code\":\"DeploymentNotFound\",\"message\":\"The API deployment does not exist.\"}}",
     CLASS_UNSUPPORTED},
    {400,
     "{\"error\":{\"code\":\"OperationNotSupported\",\"message\":\"The completion operation does not work "
     "with the specified model.\"}}",
     CLASS_UNSUPPORTED},
    {429,
     "{\"error\":{\"code\":\"429\",\"message\":\"Requests have exceeded call rate limit of your current "
     "pricing tier. Please retry after 26 seconds.\"}}",
     CLASS_RATE_LIMITED},
    {401, "{ \"statusCode\": 401, \"message\": \"Unauthorized. Access token is missing or invalid.\" }",
     CLASS_AUTH},
    /* Anthropic */
    {400,
     "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"prompt is too long: "
     "210000 tokens > 200000 maximum\"}}",
     CLASS_CONTEXT_LENGTH},
    {400,
     "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"Output blocked by "
     "content filtering policy\"}}",
     CLASS_POLICY},
    {400,
     "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"Your credit balance is "
     "too low to access the Anthropic API.\"}}",
     CLASS_QUOTA},
    {400,
     "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"messages: roles must "
     "alternate\"}}",
     CLASS_CLIENT},
    {413,
     "{\"type\":\"error\",\"error\":{\"type\":\"request_too_large\",\"message\":\"Request exceeds the "
     "maximum size\"}}",
     CLASS_CLIENT},
    {429,
     "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"This would exceed your "
     "organization's rate limit of 40,000 input tokens per minute.\"}}",
     CLASS_RATE_LIMITED},
    {529, "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}",
     CLASS_UNREACHABLE},
    /* Gemini */
    {400,
     "[{\n  \"error\": {\n    \"code\": 400,\n    \"message\": \"The input token count (1200000) exceeds the "
     "maximum number of tokens allowed (1048575).\",\n    \"status\": \"INVALID_ARGUMENT\"\n  }\n}\n]",
     CLASS_CONTEXT_LENGTH},
    {400,
     "{\"error\":{\"code\":400,\"message\":\"API key not valid. Please pass a valid API key.\",\"status\":"
     "\"INVALID_ARGUMENT\",\"details\":[{\"reason\":\"API_KEY_INVALID\"}]}}",
     CLASS_AUTH},
    {400,
     "{\"error\":{\"code\":400,\"message\":\"User location is not supported for the API use.\","
     "\"status\":\"FAILED_PRECONDITION\"}}",
     CLASS_UNSUPPORTED},
    {429,
     "[{\"error\":{\"code\":429,\"message\":\"You exceeded your current quota, please check your plan and "
     "billing details.\\nQuota exceeded for metric: requests, limit: 15\\nPlease retry in 34.07s.\","
     "\"status\":\"RESOURCE_EXHAUSTED\"}}]",
     CLASS_RATE_LIMITED},
    {429,
     "{\"error\":{\"code\":429,\"message\":\"Your prepayment credits are depleted.\",\"status\":"
     "\"RESOURCE_EXHAUSTED\"}}",
     CLASS_QUOTA},
    {503, "{\"error\":{\"code\":503,\"message\":\"The model is overloaded.\",\"status\":\"UNAVAILABLE\"}}",
     CLASS_UNREACHABLE},
    /* vLLM, old and new */
    {400,
     "{\"object\":\"error\",\"message\":\"This model's maximum context length is 4096 tokens. However, you "
     "requested 5000.\",\"type\":\"BadRequestError\",\"param\":null,\"code\":400}",
     CLASS_CONTEXT_LENGTH},
    {400,
     "{\"error\":{\"message\":\"The decoder prompt (length 5000) is longer than the maximum model length of "
     "4096.\",\"type\":\"BadRequestError\",\"param\":null,\"code\":400}}",
     CLASS_CONTEXT_LENGTH},
    {404,
     "{\"object\":\"error\",\"message\":\"The model `x` does not exist.\",\"type\":\"NotFoundError\","
     "\"code\":404}",
     CLASS_UNSUPPORTED},
    /* Ollama, its own way and OpenAI's */
    {404, "{\"error\":\"model 'llama9' not found\"}", CLASS_UNSUPPORTED},
    {400, "{\"error\":\"the input length exceeds the context length\"}", CLASS_CONTEXT_LENGTH},
    {400,
     "{\"error\":{\"message\":\"registry.ollama.ai/library/x:latest does not support tools\",\"type\":"
     "\"invalid_request_error\",\"param\":null,\"code\":null}}",
     CLASS_UNSUPPORTED},
    {503, "{\"error\":\"server busy, please try again. maximum pending requests exceeded\"}",
     CLASS_UNREACHABLE},
    /* llama.cpp */
    {400,
     "{\"error\":{\"code\":400,\"message\":\"request (5000 tokens) is larger than what there is\",\"type\":"
     "\"exceed_context_size_error\",\"n_prompt_tokens\":5000,\"n_ctx\":4096}}",
     CLASS_CONTEXT_LENGTH},
    {500,
     "{\"error\":{\"code\":500,\"message\":\"the request exceeds the available context size. try "
     "increasing it\",\"type\":\"server_error\"}}",
     CLASS_CONTEXT_LENGTH},
    {503, "{\"error\":{\"code\":503,\"message\":\"Loading model\",\"type\":\"unavailable_error\"}}",
     CLASS_UNREACHABLE},
    {501,
     "{\"error\":{\"code\":501,\"message\":\"This server does not support embeddings.\",\"type\":"
     "\"not_supported_error\"}}",
     CLASS_UNSUPPORTED},
    /* others */
    {422,
     "{\"error\":\"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 "
     "`inputs` tokens\",\"error_type\":\"validation\"}",
     CLASS_CONTEXT_LENGTH},
    {400,
     "{\"object\":\"error\",\"message\":\"Prompt contains 40000 tokens, too large for model with 32768 "
     "maximum context length\",\"type\":\"invalid_request_prompt\",\"code\":\"3051\"}",
     CLASS_CONTEXT_LENGTH},
    {400,
     "{\"object\":\"error\",\"message\":\"Invalid model: x\",\"type\":\"invalid_model\",\"code\":\"1500\"}",
     CLASS_UNSUPPORTED},
    {413,
     "{\"error\":{\"message\":\"Request too large on tokens per minute (TPM): Limit 6000, Requested 8000\","
     "\"type\":\"tokens\",\"code\":\"rate_limit_exceeded\"}}",
     CLASS_RATE_LIMITED},
    {402,
     "{\"error\":{\"message\":\"Insufficient Balance\",\"type\":\"unknown_error\",\"code\":"
     "\"invalid_request_error\"}}",
     CLASS_QUOTA},
    {400,
     "{\"code\":\"Client specified an invalid argument\",\"error\":\"This model's maximum prompt length is "
     "131072 but the request contains 200000 tokens.\"}",
     CLASS_CONTEXT_LENGTH},
    {403,
     "{\"code\":\"The caller does not have permission\",\"error\":\"Your newly created team doesn't have "
     "any credits yet.\"}",
     CLASS_QUOTA},
    {403,
     "{\"error\":{\"code\":403,\"message\":\"Your input was flagged\",\"metadata\":{\"reasons\":[\"x\"]}}}",
     CLASS_POLICY},
    {400,
     "{\"error\":{\"message\":\"Provider returned error\",\"code\":400,\"metadata\":{\"provider_name\":\"X\","
     "\"raw\":\"{\\\"error\\\":{\\\"message\\\":\\\"This model's maximum context length is 8192\\\"}}\"}}}",
     CLASS_CONTEXT_LENGTH},
    {400, "{\"message\":\"too many tokens: total number of tokens in the prompt is 300000\"}",
     CLASS_CONTEXT_LENGTH},
    {400, "{\"detail\":\"Input is too long for requested model.\"}", CLASS_CONTEXT_LENGTH},
    {400, "prompt is too long", CLASS_CONTEXT_LENGTH},
    /* what the original got wrong */
    {400, "{\"error\":{\"message\":\"invalid token\",\"code\":null}}", CLASS_CLIENT},
    {401, "{\"error\":{\"message\":\"Invalid token in header\"}}", CLASS_AUTH},
    {400, "{\"error\":{\"message\":\"the length of 'stop' is wrong\"}}", CLASS_CLIENT},
    {400, "{\"error\":{\"message\":\"context must be an object\"}}", CLASS_CLIENT},
    {400, "{\"error\":{\"message\":\"The model `policy-7b` is not served\"}}", CLASS_CLIENT},
    {400, "{\"error\":{\"message\":\"The model `content_policy` is not served\"}}", CLASS_CLIENT},
    {400, "{\"error\":{\"message\":\"x\",\"param\":\"content_filter\"}}", CLASS_CLIENT},
    {400, "{\"model\":\"content_filter\",\"input\":\"prompt is too long\",\"error\":{\"message\":\"x\"}}",
     CLASS_CLIENT},
    {422, "{\"detail\":[{\"msg\":\"Field required\",\"input\":{\"message\":\"prompt is too long\"}}]}",
     CLASS_CLIENT},
    {400, "{\"error\":{\"message\":\"a timeout of -1 is no timeout, nor is a connection\"}}", CLASS_CLIENT},
    {429, "{\"error\":{\"message\":\"maximum context length\",\"code\":\"context_length_exceeded\"}}",
     CLASS_RATE_LIMITED},
    {404, "{\"error\":{\"message\":\"content management policy\",\"code\":\"content_filter\"}}",
     CLASS_UNSUPPORTED},
    {503, "{\"error\":{\"message\":\"insufficient quota\",\"code\":\"insufficient_quota\"}}",
     CLASS_UNREACHABLE},
    /* an error inside a good answer */
    {200,
     "{\"id\":\"x\",\"choices\":[{\"message\":{\"content\":\"prompt is too long\"},\"finish_reason\":"
     "\"stop\"}]}",
     CLASS_NONE},
    {200, "{\"choices\":[{\"index\":0,\"finish_reason\":\"content_filter\",\"message\":{\"content\":\"\"}}]}",
     CLASS_POLICY},
    {200, "{\"choices\":[{\"message\":{\"finish_reason\":\"content_filter\"}}]}", CLASS_NONE},
    {200, "{\"choices\":[],\"error\":null}", CLASS_NONE},
    {200, "{\"choices\":[\"content_filter\"]}", CLASS_NONE},
    {200, "{\"choices\":[]}", CLASS_NONE},
    {200, "{\"error\":{\"code\":402,\"message\":\"Insufficient credits\"}}", CLASS_QUOTA},
    {200, "{\"error\":{\"code\":502,\"message\":\"Provider disconnected\"},\"choices\":[{}]}",
     CLASS_UNREACHABLE},
    {200, "{\"error\":{\"code\":400,\"message\":\"prompt is too long\"}}", CLASS_CONTEXT_LENGTH},
    {200, "{\"error\":{\"message\":\"it broke\"}}", CLASS_OTHER},
    {200, "{\"error\":\"it broke\"}", CLASS_OTHER},
    {200, "{\"x\":{\"error\":{\"code\":402}}}", CLASS_NONE},
    {200, "{\"metadata\":{\"error\":{\"code\":402}}}", CLASS_NONE},
    /* no JSON at all, or none that ends */
    {400, "{", CLASS_CLIENT},
    {400, "[", CLASS_CLIENT},
    {400, "[]", CLASS_CLIENT},
    {400, "[\"prompt is too long\"]", CLASS_CLIENT},
    {400, "\"prompt is too long\"", CLASS_CONTEXT_LENGTH},
    {400, "{\"error\":{\"message\":\"This model's maximum context length is 8", CLASS_CONTEXT_LENGTH},
    {400, "{\"error\":{\"code\":\"context_length_exceeded\",\"message\":\"\xff", CLASS_CONTEXT_LENGTH},
    {400, "{\"error\":{\"error\":{\"error\":{\"error\":{\"code\":\"content_filter\"}}}}}", CLASS_POLICY},
};

static enum error_class class_of_exact(int status, struct str body)
{
    char *copy = exact_copy(body);
    enum error_class got = error_class_of(status, str_make(copy, body.n));
    mem_free(copy);
    return got;
}

static void check_row(const struct row *row, struct str body)
{
    enum error_class got = class_of_exact(row->status, body);
    if (got == row->want)
        return;
    print_error("%d %.*s: got %s, want %s\n", row->status, STR_ARG(body), error_class_name(got),
                error_class_name(row->want));
    fail();
}

static void test_rows(void **state)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        check_row(&rows[i], str_from_c(rows[i].body));
}

/* Letters inside of the values, not those of keys: the case of an escape or a key matters to JSON. */
static void test_case(void **state)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char body[1024];
        struct str text = str_from_c(rows[i].body);
        assert_in_range(text.n, 0, sizeof body - 1);
        bool in_string = false;
        size_t begin = 0;
        for (size_t at = 0; at < text.n; at++) {
            body[at] = text.p[at];
            if (text.p[at] != '"' || (at && text.p[at - 1] == '\\'))
                continue;
            bool value = in_string && text.p[at + 1] != ':';
            for (size_t k = begin; value && !memchr(text.p + begin, '\\', at - begin) && k < at; k++)
                if (body[k] >= 'a' && body[k] <= 'z')
                    body[k] = (char)(body[k] - 0x20);
            in_string = !in_string;
            begin = at + 1;
        }
        if (!str_eq(text, str_make(body, text.n)) && rows[i].status != 200)
            check_row(&rows[i], str_make(body, text.n));
    }
}

/* Cut off anywhere: nothing is read behind the end, and the status is never contradicted. */
static void test_cuts(void **state)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct str body = str_from_c(rows[i].body);
        enum error_class alone = error_class_of(rows[i].status, STR_NONE);
        for (size_t n = 0; n < body.n; n++) {
            enum error_class got = class_of_exact(rows[i].status, str_first(body, n));
            if (rows[i].want == alone && rows[i].status != 200 && rows[i].status != 429)
                CHECK_INT(got, alone, rows[i].body);
        }
    }
}

static void test_retryable(void **state)
{
    static const bool never[] = {[CLASS_NONE] = true, [CLASS_CLIENT] = true};
    for (int c = CLASS_NONE; c <= CLASS_CLIENT; c++) {
        assert_int_equal(error_class_retryable((enum error_class)c, true), !never[c]);
        assert_int_equal(error_class_retryable((enum error_class)c, false), !never[c] && c != CLASS_OTHER);
    }
}

static void test_names(void **state)
{
    assert_string_equal(error_class_name(CLASS_RATE_LIMITED), "rate_limited");
    assert_string_equal(error_class_name(CLASS_POLICY), "policy_violation");
    for (int a = CLASS_NONE; a <= CLASS_CLIENT; a++)
        for (int b = CLASS_NONE; b < a; b++)
            assert_string_not_equal(error_class_name((enum error_class)a),
                                    error_class_name((enum error_class)b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),      cmocka_unit_test(test_case),  cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_retryable), cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
