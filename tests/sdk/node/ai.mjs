// Vercel's AI SDK with its provider for whatever speaks OpenAI's API.
import { APICallError, embedMany, generateText, jsonSchema, streamText, tool } from 'ai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';

const make = ({ base_url, api_key }) => createOpenAICompatible({ name: 'hestia', baseURL: base_url, apiKey: api_key, includeUsage: true });
const TOOLS = { weather: tool({ description: 'The weather.', inputSchema: jsonSchema({ type: 'object', properties: {} }) }) };

export const errorName = (error) => (APICallError.isInstance(error) ? 'APICallError' : error?.name ?? error?.constructor?.name ?? typeof error);
export const errorDetail = (error) => ({ status: error?.statusCode, code: error?.data?.error?.code, param: error?.data?.error?.param, retryable: error?.isRetryable });

const asked = ({ model, ...how }, more) => ({ model: make(how)(model), prompt: 'Hello', maxRetries: 0, ...more });

export async function plain(options) {
  const answer = await generateText(asked(options));
  return { text: answer.text, tokens: answer.usage.outputTokens };
}

// Errors of a stream are parts of it; here they are thrown.
async function* parts(answer) {
  for await (const part of answer.fullStream) {
    if (part.type === 'error') throw part.error;
    yield part;
  }
}

export async function stream(options) {
  const pieces = [];
  let tokens = null;
  for await (const part of parts(streamText(asked(options, { onError() {} })))) {
    if (part.type === 'text-delta') pieces.push(part.text);
    if (part.type === 'finish') tokens = part.totalUsage.outputTokens ?? null;
  }
  return { pieces, tokens };
}

export async function tools(options) {
  const answer = await generateText(asked(options, { tools: TOOLS, toolChoice: 'required' }));
  return { name: answer.toolCalls[0].toolName, arguments: answer.toolCalls[0].input, finish: answer.finishReason.replace('-', '_') };
}

export async function tools_stream(options) {
  for await (const part of parts(streamText(asked(options, { tools: TOOLS, toolChoice: 'required', onError() {} })))) {
    if (part.type === 'tool-call') return { name: part.toolName, arguments: part.input };
  }
}

export async function embeddings({ model, ...how }) {
  const answer = await embedMany({ model: make(how).textEmbeddingModel(model), values: ['one', 'two'], maxRetries: 0 });
  return answer.embeddings;
}

export async function completion({ model, ...how }) {
  return (await generateText({ model: make(how).completionModel(model), prompt: 'Hello', maxRetries: 0 })).text;
}

export async function cancel(options) {
  const leaving = new AbortController();
  for await (const part of parts(streamText(asked(options, { abortSignal: leaving.signal, onError() {} })))) {
    if (part.type === 'text-delta') {
      const left = Date.now();
      leaving.abort();
      return { piece: part.text, left };
    }
  }
}
