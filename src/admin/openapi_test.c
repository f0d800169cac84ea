/* Tests of the route table and of the document that is generated from it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "admin/admin.h"
#include "admin/openapi.h"
#include "gateway/exchange.h"

#include <jansson.h>
#include <stdio.h>

static json_t *document;

static int render(void **state)
{
    static const struct api_route *const tables[] = {gateway_routes, admin_routes};
    struct buf out = BUF(0);
    json_error_t error;
    openapi_write(&out, tables, COUNT_OF(tables));
    document = json_loadb(out.p, out.n, JSON_REJECT_DUPLICATES, &error);
    if (!document)
        print_error("%s at %d\n", error.text, error.position);
    buf_free(&out);
    return document ? 0 : -1;
}

static int drop(void **state)
{
    json_decref(document);
    return 0;
}

static json_t *operation(const char *path, const char *method)
{
    json_t *found = json_object_get(json_object_get(json_object_get(document, "paths"), path), method);
    if (!found)
        fail_msg("no %s %s", method, path);
    return found;
}

static void test_every_row_is_in_the_document(void **state)
{
    for (const struct api_route *row = admin_routes; row->path; row++) {
        static const char *const names[] = {"get", "head", "post", "put", "patch", "delete"};
        int method = __builtin_ctz(row->methods);
        json_t *op = operation(row->path, names[method]);
        assert_string_equal(json_string_value(json_object_get(op, "operationId")), row->operation);
        assert_non_null(row->handler);
        assert_true(!row->inner == (row->access != ACCESS_ADMIN));
        assert_true(row->schema || row->media_type);
        assert_true(row->path[0] == '/');
    }
}

static void test_the_way_through_takes_every_method(void **state)
{
    static const char *const methods[] = {"get", "post", "put", "patch", "delete", "options"};
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        json_t *op = operation("/services/{serviceId}/{path}", methods[i]);
        assert_int_equal(json_array_size(json_object_get(op, "parameters")), 2);
    }
}

static void test_operation_ids_are_unique(void **state)
{
    json_t *seen = json_object(), *item, *op;
    const char *path, *method;
    json_object_foreach(json_object_get(document, "paths"), path, item)
    {
        json_object_foreach(item, method, op)
        {
            const char *id = json_string_value(json_object_get(op, "operationId"));
            assert_non_null(id);
            assert_null(json_object_get(seen, id));
            json_object_set_new(seen, id, json_true());
        }
    }
    json_decref(seen);
}

static void check_references(json_t *node)
{
    json_t *child;
    const char *key;
    size_t i;
    json_array_foreach(node, i, child) check_references(child);
    json_object_foreach(node, key, child)
    {
        const char *name = strcmp(key, "$ref") == 0 ? strrchr(json_string_value(child), '/') + 1 : NULL;
        json_t *schemas = json_object_get(json_object_get(document, "components"), "schemas");
        if (name && !json_object_get(schemas, name))
            fail_msg("no schema %s", name);
        check_references(child);
    }
}

static void test_every_reference_resolves(void **state)
{
    check_references(document);
}

/* Rows with the same path make one path with several operations, each with the path's parameter. */
static void test_a_path_of_several_rows(void **state)
{
    static const char *const methods[] = {"get", "patch", "delete"};
    json_t *path = json_object_get(json_object_get(document, "paths"), "/admin/v1/clients/{id}");
    assert_int_equal(json_object_size(path), COUNT_OF(methods));
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        json_t *parameters = json_object_get(operation("/admin/v1/clients/{id}", methods[i]), "parameters");
        assert_int_equal(json_array_size(parameters), 1);
        json_t *parameter = json_array_get(parameters, 0);
        assert_string_equal(json_string_value(json_object_get(parameter, "name")), "id");
        assert_true(json_is_true(json_object_get(parameter, "required")));
    }
    json_t *by_id = operation("/admin/v1/requests/{request_id}", "get");
    json_t *parameter = json_array_get(json_object_get(by_id, "parameters"), 0);
    assert_string_equal(json_string_value(json_object_get(parameter, "name")), "request_id");
}

static void test_health_needs_no_key(void **state)
{
    json_t *open = json_object_get(operation("/ready", "get"), "security");
    json_t *closed = json_object_get(operation("/metrics", "get"), "security");
    assert_true(json_is_array(open));
    assert_int_equal(json_array_size(open), 0);
    assert_int_equal(json_array_size(closed), 2);
}

static void test_query_parameters_are_listed(void **state)
{
    json_t *parameters = json_object_get(operation("/v1/services/{serviceId}/logs", "get"), "parameters");
    static const char *const names[] = {"serviceId", "tail", "follow"};
    assert_int_equal(json_array_size(parameters), COUNT_OF(names));
    for (size_t i = 0; i < COUNT_OF(names); i++)
        assert_string_equal(json_string_value(json_object_get(json_array_get(parameters, i), "name")),
                            names[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row_is_in_the_document),
        cmocka_unit_test(test_the_way_through_takes_every_method),
        cmocka_unit_test(test_operation_ids_are_unique),
        cmocka_unit_test(test_every_reference_resolves),
        cmocka_unit_test(test_a_path_of_several_rows),
        cmocka_unit_test(test_health_needs_no_key),
        cmocka_unit_test(test_query_parameters_are_listed),
    };
    return cmocka_run_group_tests(tests, render, drop);
}
