// Times loops of @ruvector/sona or @ruvector/ruvllm: one JSON order per line in, one answer out.
"use strict";
const path = require("node:path");
const readline = require("node:readline");

const [modules, name] = process.argv.slice(2);
const library = require(path.join(modules, "@ruvector", name));
const kept = new Map();

function vector(dim, scale = 1) {
  return Array.from({ length: dim }, () => scale * (Math.random() - 0.5));
}

function sona(dim, rank) {
  const engine = library.SonaEngine.withConfig({ hiddenDim: dim, baseLoraRank: rank });
  return { forward: (x) => engine.applyBaseLora(0, x) };
}

function ruvllm(dim, rank) {
  const adapter = new library.LoraAdapter({ rank, alpha: rank, dropout: 0 }, dim, dim);
  return {
    forward: (x) => adapter.forward(x),
    learn(x, target) {
      const y = adapter.forward(x);
      adapter.backward(x, y.map((value, i) => 2 * (value - target[i])), 1e-6);
    },
  };
}

function prepared({ work, dim, rank, rows }) {
  const key = [work, dim, rank, rows].join();
  if (!kept.has(key)) {
    const model = (name === "sona" ? sona : ruvllm)(dim, rank);
    const inputs = Array.from({ length: rows }, () => vector(dim));
    const targets = Array.from({ length: rows }, () => vector(dim));
    const one = work === "forward" ? model.forward : (x, i) => model.learn(x, targets[i]);
    kept.set(key, () => inputs.forEach((x, i) => one(x, i)));
  }
  return kept.get(key);
}

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const order = JSON.parse(line);
  const turn = prepared(order);
  const started = process.hrtime.bigint();
  for (let i = 0; i < order.count; i++) turn();
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  process.stdout.write(JSON.stringify({ seconds }) + "\n");
});
