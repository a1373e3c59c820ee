// Opens ONNX files with Netron's own loader and prints, as JSON, what its page would show:
//   node open_in_netron.mjs NETRON_FOLDER MODEL.onnx ...  ->  {"MODEL.onnx": {"format": ..., "nodes": ..., "inputs": ..., "outputs": ...}}
// Node has no window, so the few things that the loader asks of its host are given here.
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [netron, ...files] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(join(netron, name)));
const base = await load('base.js');
const view = await load('view.js');

const host = {
  environment: () => null,
  event: () => {},
  exception: (error) => { throw error; },
  require: (id) => load(id.endsWith('.js') ? id : `${id}.js`),
  request: async (name, encoding) => {
    const content = await readFile(join(netron, name));
    return encoding ? content.toString(encoding) : new base.BinaryStream(content);
  },
};

const shown = {};
for (const file of files) {
  const stream = new base.BinaryStream(new Uint8Array(await readFile(file)));
  const context = {
    identifier: basename(file), stream, entries: new Map(),
    asset: (name) => host.request(name, 'utf-8'), request: host.request, fetch: host.request,
    require: host.require, error: (error) => { throw error; },
  };
  const model = await new view.ModelFactoryService(host).open(context);
  const graph = model.modules[0];
  shown[basename(file)] = {
    format: model.format,
    nodes: graph.nodes.map((node) => node.type.name),
    inputs: graph.inputs.map((value) => value.name),
    outputs: graph.outputs.map((value) => value.name),
  };
}
console.log(JSON.stringify(shown));
