// One client library under the command of a test: a JSON object per line in, one per line out.
//   node driver.mjs openai|ai|ollama
//   {"call": "plain", "base_url": …, "api_key": …, …}  →  {"value": …} or {"error": {"name", "status", "code", "message"}}
// `cancel` begins a stream, reads its first piece, leaves, and tells when it left.
import { createInterface } from 'node:readline';

const client = await import(`./${process.argv[2]}.mjs`);

function describe(error) {
  return { name: client.errorName(error), message: String(error?.message), ...client.errorDetail(error) };
}

async function run(line) {
  const { call, ...options } = JSON.parse(line);
  try {
    return { value: (await client[call](options)) ?? null };
  } catch (error) {
    return { error: describe(error) };
  }
}

process.stdout.write('{"value": "ready"}\n');
for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify(await run(line)) + '\n');
}
