// Ollama's own library, through /services/….
import { Ollama } from 'ollama';

const QUESTION = [{ role: 'user', content: 'Hello' }];
const TOOLS = [{ type: 'function', function: { name: 'weather', description: 'The weather.', parameters: { type: 'object', properties: {} } } }];

const make = ({ base_url, api_key }) => new Ollama({ host: base_url, headers: { Authorization: `Bearer ${api_key}` } });

export const errorName = (error) => error.name;
export const errorDetail = (error) => ({ status: error.status_code });

export async function plain({ model, ...how }) {
  const answer = await make(how).chat({ model, messages: QUESTION });
  return { text: answer.message.content, tokens: answer.eval_count };
}

export async function stream({ model, ...how }) {
  const pieces = [];
  let tokens = null;
  for await (const part of await make(how).chat({ model, messages: QUESTION, stream: true })) {
    if (part.message.content) pieces.push(part.message.content);
    tokens = part.eval_count ?? tokens;
  }
  return { pieces, tokens };
}

export async function tools({ model, ...how }) {
  const answer = await make(how).chat({ model, messages: QUESTION, tools: TOOLS });
  const { name, arguments: given } = answer.message.tool_calls[0].function;
  return { name, arguments: given, finish: 'tool_calls' };
}

export async function tools_stream({ model, ...how }) {
  for await (const part of await make(how).chat({ model, messages: QUESTION, tools: TOOLS, stream: true })) {
    for (const call of part.message.tool_calls ?? []) return { name: call.function.name, arguments: call.function.arguments };
  }
}

export async function embeddings({ model, ...how }) {
  return (await make(how).embed({ model, input: ['one', 'two'] })).embeddings;
}

export async function completion({ model, ...how }) {
  return (await make(how).generate({ model, prompt: 'Hello' })).response;
}

export async function models(how) {
  return (await make(how).list()).models.map((model) => model.name);
}

export async function cancel({ model, ...how }) {
  const client = make(how);
  const answer = await client.chat({ model, messages: QUESTION, stream: true });
  for await (const part of answer) {
    const left = Date.now();
    answer.abort();
    return { piece: part.message.content, left };
  }
}
