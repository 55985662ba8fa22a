// Pictures over HTTP: GET /?prompt=a+cat&seed=1 answers with a PNG. A client that goes away stops its drawing.
//   node examples/server.mjs [file.cones …]
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { Concept, ConesError, Engine } from 'cones';

const engine = await Engine.load(fileURLToPath(new URL('../models/mini', import.meta.url)));
const concepts = await Promise.all(process.argv.slice(2).map((file) => Concept.load(file)));

const server = createServer(async (request, response) => {
  const gone = new AbortController();
  response.on('close', () => gone.abort());
  try {
    const { searchParams } = new URL(request.url, 'http://localhost');
    const { images } = await engine.generate({
      prompt: searchParams.get('prompt') ?? '',
      seed: searchParams.has('seed') ? Number(searchParams.get('seed')) : undefined,
      steps: 20,
      concepts,
      signal: gone.signal,
    });
    const png = await images[0].toBuffer();
    response.writeHead(200, { 'content-type': 'image/png', 'content-length': png.length }).end(png);
  } catch (error) {
    const { code, message } = error instanceof ConesError ? error : { code: 'CONES_INTERNAL', message: 'An error that nobody expected.' };
    response.writeHead(code === 'CONES_INTERNAL' ? 500 : 400, { 'content-type': 'application/json' }).end(JSON.stringify({ code, message }));
  }
});

const port = Number(process.env.PORT ?? 8080);
server.listen(port, '127.0.0.1', () => console.log(`http://localhost:${port}/?prompt=a+cat`));
