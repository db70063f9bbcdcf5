// SPDX-License-Identifier: Apache-2.0

// What the Node clients share: verbs, lines of JSON, bytes as base64.
// test/interop/client/doc.go describes the convention.
'use strict';

const readline = require('node:readline');

const DEADLINE_MS = 180_000;
const HEARTBEAT_MS = 500;

const toBytes = (text) => (text === null || text === undefined ? null : Buffer.from(text, 'base64'));
const toText = (bytes) => (bytes === null || bytes === undefined ? null : Buffer.from(bytes).toString('base64'));
const say = (line) => process.stdout.write(JSON.stringify(line) + '\n');

// next is the next line of stdin, null at its end.
const input = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const next = async () => {
  const { value, done } = await input.next();
  return done ? null : JSON.parse(value);
};

const recordLine = (partition, offset, timestamp, key, value, headers) =>
  say({
    record: {
      partition, offset: Number(offset), timestamp: Number(timestamp), key: toText(key), value: toText(value),
      headers: headers.map(([name, content]) => [name, toText(content)]),
    },
  });

// offsetsOf gives each record its offset from the first one of its
// partition: what these clients return of a send.
const offsetsOf = (records, bases) => {
  const nextOf = new Map(bases);
  return records.map((record) => {
    const offset = nextOf.get(record.partition);
    nextOf.set(record.partition, offset + 1);
    return offset;
  });
};

class Refused extends Error {
  constructor(code, text) {
    super(text);
    this.code = code;
  }
}

// Lacks is thrown where the client cannot do what a call asks.
class Lacks extends Error {}

// codeOf finds the broker's error code: some errors only hold others.
const codeOf = (error) => {
  if (!error) return null;
  if (typeof error.code === 'number' && error.code > 0) return error.code;
  const held = [...(error.errors || []), ...(error.partitions || []).map((p) => p.error), error.cause, error.originalError];
  return held.map(codeOf).find((code) => code !== null) ?? null;
};

// administer answers the calls of stdin with the functions of admin.
const administer = async (admin) => {
  for (let request = await next(); request !== null; request = await next()) {
    const { call, ...options } = request;
    try {
      if (!admin[call]) throw new Lacks();
      const answer = await admin[call](options);
      say({ answer: answer === undefined ? null : answer });
    } catch (error) {
      if (error instanceof Lacks) say({ lacks: true });
      else say({ error: { code: codeOf(error), text: `${error.name}: ${error.message}` } });
    }
  }
};

// deadline ends the process when what waits for the broker never ends.
const deadline = (what) => {
  const timer = setTimeout(() => {
    process.stderr.write(`${what}: not done after ${DEADLINE_MS} ms\n`);
    process.exit(1);
  }, DEADLINE_MS);
  return () => clearTimeout(timer);
};

const main = (verbs) => {
  verbs[process.argv[2]]().then(
    () => process.stdout.write('', () => process.exit(0)), // after all that was said
    (error) => {
      process.stderr.write(`${error.stack || error}\n`);
      process.exit(1);
    },
  );
};

module.exports = { DEADLINE_MS, HEARTBEAT_MS, Lacks, codeOf, Refused, toBytes, toText, say, next, recordLine, offsetsOf, administer, deadline, main };
