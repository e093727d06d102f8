// Runs onnxruntime-web (WASM) or transformers.js over exported folders; started by client_matrix.py under Node.
//
//     node worker.mjs CLIENT JOBS.json OUT.jsonl
//
// The same jobs and answers as those of worker.py.
import fs from 'fs';
import path from 'path';

const [client, jobs, out] = process.argv.slice(2);
const DTYPES = { 'model.onnx': 'fp32', 'model_quantized.onnx': 'q8', 'model_fp16.onnx': 'fp16' };

function padded(rows, pad) {
  const longest = Math.max(...rows.map((row) => row.length));
  const ids = new BigInt64Array(rows.length * longest).fill(BigInt(pad));
  const mask = new BigInt64Array(rows.length * longest);
  rows.forEach((row, place) => row.forEach((id, token) => {
    ids[place * longest + token] = BigInt(id);
    mask[place * longest + token] = 1n;
  }));
  return { ids, mask, shape: [rows.length, longest] };
}

function rowsOf(data, count) {
  const width = data.length / count;
  return Array.from({ length: count }, (_, row) => Array.from(data.slice(row * width, (row + 1) * width)));
}

async function web(job) {
  const ort = await import('onnxruntime-web');
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = 'error';
  const bytes = fs.readFileSync(path.join(job.folder, 'onnx', job.file));
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ['wasm'] });
  return async (texts, rows) => {
    const { ids, mask, shape } = padded(rows, job.pad);
    const tensor = (values) => new ort.Tensor('int64', values, shape);
    const found = await session.run({ input_ids: tensor(ids), attention_mask: tensor(mask) });
    return rowsOf(found.sentence_embedding.data, rows.length);
  };
}

async function transformers(job) {
  const library = await import('@huggingface/transformers');
  library.env.allowRemoteModels = false;
  library.env.localModelPath = path.dirname(job.folder) + '/';
  const name = path.basename(job.folder);
  const options = { dtype: DTYPES[job.file] };
  if (job.task) {
    const run = await library.pipeline(job.task, name, options);
    return async (texts) => run(texts.length > 1 ? texts : texts[0], job.options);
  }
  if (job.pooling && !job.writer) {
    const extract = await library.pipeline('feature-extraction', name, options);
    return async (texts) => rowsOf((await extract(texts, { pooling: job.pooling, normalize: true })).data, texts.length);
  }
  const tokenizer = await library.AutoTokenizer.from_pretrained(name);
  const model = job.writer // T5 and GPT-2: their own classes would look for the files of a writer
    ? await library.PreTrainedModel.from_pretrained(name, { ...options, model_file_name: 'model' })
    : await library.AutoModel.from_pretrained(name, options);
  return async (texts) => {
    const inputs = await tokenizer(texts, { padding: true, truncation: true });
    return rowsOf((await model(inputs)).sentence_embedding.data, texts.length);
  };
}

async function answer(job) {
  try {
    const encode = await (client === 'onnxruntime-web' ? web : transformers)(job);
    const alone = [];
    for (let place = 0; place < job.texts.length; place += 1) {
      const found = await encode([job.texts[place]], [job.rows[place]]);
      alone.push(job.task ? found : found[0]);
    }
    return { job: job.key, alone, batched: await encode(job.texts, job.rows) };
  } catch (error) {
    return { job: job.key, error: String(error?.message ?? error) };
  }
}

for (const job of JSON.parse(fs.readFileSync(jobs))) {
  fs.appendFileSync(out, `${JSON.stringify({ begun: job.key })}\n`);
  fs.appendFileSync(out, `${JSON.stringify(await answer(job))}\n`);
}
process.exit(0);
