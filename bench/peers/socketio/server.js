// A chat server on Socket.IO and PostgreSQL that promises what Konnect promises for the same commands: a message is on
// disk before it is acknowledged or anybody sees it, once, in one order for all, and from members only.
//
// Tuned as Socket.IO's documentation advises ("Performance tuning", "Memory usage"): WebSocket only, no compression,
// ws's native add-ons (bufferutil, utf-8-validate), the first HTTP request of each socket let go.
//
// Environment: PORT, DATABASE_HOST (the folder of a Unix socket), DATABASE_PORT, DATABASE_USER, DATABASE_NAME,
// PUBLIC_KEY (a file: Ed25519, PEM). Prints "ready" when it listens.
"use strict";

const crypto = require("node:crypto");
const fs = require("node:fs");
const http = require("node:http");
const { Pool } = require("pg");
const { Server } = require("socket.io");

const POOL_SIZE = 20; // twice what node-postgres takes by itself; ejabberd has as many
const BACKLOG = 4096; // connections that the kernel holds until they are accepted, as many as with Konnect
const TOKENS_KEPT = 20000; // verified ones are remembered until they expire, as many as Konnect remembers
const MISSED_AT_ONCE = 1000; // entries read at a time for one who comes back

const publicKey = crypto.createPublicKey(fs.readFileSync(process.env.PUBLIC_KEY));
const pool = new Pool({
  host: process.env.DATABASE_HOST,
  port: Number(process.env.DATABASE_PORT),
  user: process.env.DATABASE_USER,
  database: process.env.DATABASE_NAME,
  max: POOL_SIZE,
  min: POOL_SIZE,
  idleTimeoutMillis: 0,
});

// Prepared by their names, once on each connection of the pool.
const ROOMS = { name: "rooms", text: "select room from member where account = $1" };
const MISSED = {
  name: "missed",
  text: `select seq, author, key, text, at_ms::float8 as at_ms from entry
    where room = $1 and seq > $2 and exists (select from member where account = $3 and room = $1)
    order by seq limit ${MISSED_AT_ONCE}`,
};
// One statement, one commit: a key that is known gives the first answer; else the member's message gets the next number.
const APPEND = {
  name: "append",
  text: `with known as (
      select seq, at_ms from entry where room = $1 and author = $2 and key = $3
    ), raised as (
      update room set last_seq = last_seq + 1
      where id = $1 and not exists (select from known)
        and exists (select from member where account = $2 and room = $1)
      returning last_seq
    ), stored as (
      insert into entry (room, seq, author, key, text, at_ms)
      select $1, last_seq, $2, $3, $4, (extract(epoch from clock_timestamp()) * 1000)::bigint from raised
      returning seq, at_ms
    )
    select seq::float8 as seq, at_ms::float8 as at_ms, true as fresh from stored
    union all select seq::float8, at_ms::float8, false from known`,
};

const verified = new Map(); // token -> {user, expires}

// The user that a signed token names (JWT, EdDSA with Ed25519); throws when it is not ours, or old.
function verify(token) {
  const now = Date.now() / 1000;
  const known = verified.get(token);
  if (known && known.expires > now) return known.user;
  const [head, body, signature] = String(token).split(".");
  const said = JSON.parse(Buffer.from(head, "base64url"));
  const signed = Buffer.from(`${head}.${body}`);
  if (said.alg !== "EdDSA" || !crypto.verify(null, signed, publicKey, Buffer.from(signature, "base64url")))
    throw new Error("unauthorized");
  const claims = JSON.parse(Buffer.from(body, "base64url"));
  if (!(claims.exp > now)) throw new Error("expired");
  if (verified.size >= TOKENS_KEPT) verified.delete(verified.keys().next().value); // the oldest
  verified.set(token, { user: claims.sub, expires: claims.exp });
  return claims.sub;
}

// Each room's messages are appended one after the other, so that they are numbered and emitted in the order in which
// they came; rooms do not wait for each other. The next append begins before this one's message is emitted.
const waiting = new Map(); // room -> [{socket, message, answer}]

function post(job) {
  const queue = waiting.get(job.message.room);
  if (queue) queue.push(job);
  else {
    waiting.set(job.message.room, []);
    append(job);
  }
}

function next(room) {
  const queue = waiting.get(room);
  if (queue.length) append(queue.shift());
  else waiting.delete(room);
}

async function append(job, again = true) {
  const { room, key, text } = job.message;
  const author = job.socket.data.user;
  let row;
  try {
    row = (await pool.query({ ...APPEND, values: [room, author, key, text] })).rows[0];
  } catch (problem) {
    // Another process stored the same key at this moment: asked again, it is known.
    if (problem.code === "23505" && again) return append(job, false);
    next(room);
    return job.answer({ error: "storage_unavailable" });
  }
  next(room);
  if (!row) return job.answer({ error: "not_a_member" });
  job.answer({ seq: row.seq, at_ms: row.at_ms });
  if (row.fresh) io.to(room).emit("entry", { room, seq: row.seq, author, key, text, at_ms: row.at_ms });
}

function isMessage(message, answer) {
  const { room, key, text } = message ?? {};
  return (
    typeof answer === "function" &&
    typeof room === "string" &&
    typeof key === "string" && key.length >= 1 && key.length <= 64 &&
    typeof text === "string" && text.length >= 1 && text.length <= 8192
  );
}

// What a returning client missed, page by page. It has joined its rooms before: what is said meanwhile comes live,
// perhaps ahead of older entries, and the client orders by number.
async function sendMissed(socket, heads, rooms) {
  for (const room of rooms) {
    let head = Number(heads[room]);
    if (!Number.isSafeInteger(head)) continue;
    for (;;) {
      const { rows } = await pool.query({ ...MISSED, values: [room, head, socket.data.user] });
      for (const row of rows) {
        head = Number(row.seq);
        socket.emit("entry", { room, seq: head, author: row.author, key: row.key, text: row.text, at_ms: row.at_ms });
      }
      if (rows.length < MISSED_AT_ONCE) break;
    }
  }
}

const httpServer = http.createServer();
const io = new Server(httpServer, {
  transports: ["websocket"],
  perMessageDeflate: false,
  httpCompression: false,
  serveClient: false,
});
io.engine.on("connection", (raw) => {
  raw.request = null; // "Memory usage": else it is kept as long as the socket
});

io.use((socket, proceed) => {
  try {
    socket.data.user = verify(socket.handshake.auth.token);
    proceed();
  } catch {
    proceed(new Error("unauthorized"));
  }
});

io.on("connection", async (socket) => {
  socket.on("ping", (data, answer) => answer(data));
  socket.on("send", (message, answer) => {
    if (isMessage(message, answer)) post({ socket, message, answer });
    else if (typeof answer === "function") answer({ error: "bad_request" });
  });
  try {
    const { rows } = await pool.query({ ...ROOMS, values: [socket.data.user] });
    const rooms = rows.map((row) => row.room);
    socket.join(rooms);
    const heads = socket.handshake.auth.heads;
    if (heads && rooms.length) await sendMissed(socket, heads, rooms);
    socket.emit("synced");
  } catch {
    socket.disconnect(true); // the database did not answer: the client comes back
  }
});

httpServer.listen({ port: Number(process.env.PORT), host: "127.0.0.1", backlog: BACKLOG }, () => console.log("ready"));
process.on("SIGTERM", () => process.exit(0));
