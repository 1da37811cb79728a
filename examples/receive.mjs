// Receives Milepost's messages and verifies that they come from it (npm install standardwebhooks).
//
// SECRET=whsec_... node examples/receive.mjs 9000    # docs/messages.md says where the secret comes from
import { createServer } from "node:http";
import { buffer } from "node:stream/consumers";
import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.env.SECRET);
const seen = new Set(); // better a table with a unique id, written in the transaction that acts on the message

createServer(async (request, response) => {
  try {
    const body = await buffer(request);
    const { type, data } = webhook.verify(body, request.headers); // the bytes as they came, not JSON made of them
    const id = request.headers["webhook-id"];
    if (!seen.has(id)) {
      // a message may come more than once
      seen.add(id);
      console.log(type, data.user_id ?? "", data.name ?? "");
    }
    response.writeHead(204).end();
  } catch {
    response.writeHead(401).end();
  }
}).listen(Number(process.argv[2]), "127.0.0.1");
