// OpenAI's own library.
import OpenAI from 'openai';

const QUESTION = [{ role: 'user', content: 'Hello' }];
const TOOLS = [{ type: 'function', function: { name: 'weather', description: 'The weather.', parameters: { type: 'object', properties: {} } } }];

const make = ({ base_url, api_key }) => new OpenAI({ baseURL: base_url, apiKey: api_key, maxRetries: 0 });

export const errorName = (error) => error.constructor.name;
export const errorDetail = (error) => ({ status: error.status, code: error.code, param: error.param });

export async function plain({ model, extra, ...how }) {
  const answer = await make(how).chat.completions.create({ model, messages: QUESTION, ...extra });
  return { text: answer.choices[0].message.content, tokens: answer.usage.completion_tokens };
}

export async function stream({ model, extra, ...how }) {
  const pieces = [];
  let usage = null;
  for await (const chunk of await make(how).chat.completions.create({ model, messages: QUESTION, stream: true, ...extra })) {
    if (chunk.choices[0]?.delta?.content) pieces.push(chunk.choices[0].delta.content);
    usage = chunk.usage ?? usage;
  }
  return { pieces, tokens: usage?.completion_tokens ?? null };
}

export async function tools({ model, ...how }) {
  const answer = await make(how).chat.completions.create({ model, messages: QUESTION, tools: TOOLS, tool_choice: 'required' });
  const { name, arguments: given } = answer.choices[0].message.tool_calls[0].function;
  return { name, arguments: JSON.parse(given), finish: answer.choices[0].finish_reason };
}

export async function tools_stream({ model, ...how }) {
  let name = '', given = '';
  for await (const chunk of await make(how).chat.completions.create({ model, messages: QUESTION, tools: TOOLS, tool_choice: 'required', stream: true })) {
    for (const call of chunk.choices[0]?.delta?.tool_calls ?? []) {
      name += call.function?.name ?? '';
      given += call.function?.arguments ?? '';
    }
  }
  return { name, arguments: JSON.parse(given) };
}

export async function embeddings({ model, ...how }) {
  const answer = await make(how).embeddings.create({ model, input: ['one', 'two'] });
  return answer.data.map((item) => Array.from(item.embedding));
}

export async function completion({ model, ...how }) {
  return (await make(how).completions.create({ model, prompt: 'Hello' })).choices[0].text;
}

export async function models(how) {
  const found = [];
  for await (const model of make(how).models.list()) found.push(model.id);
  return found;
}

export async function model({ id, ...how }) {
  return (await make(how).models.retrieve(id)).id;
}

export async function cancel({ model, ...how }) {
  const answer = await make(how).chat.completions.create({ model, messages: QUESTION, stream: true });
  for await (const chunk of answer) {
    const left = Date.now();
    answer.controller.abort();
    return { piece: chunk.choices[0].delta.content, left };
  }
}
