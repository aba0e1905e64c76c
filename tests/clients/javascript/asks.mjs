// Asks each question of a plan by a request over a channel; prints the answers, or why there is none.

import { connect } from "../../../clients/javascript/guesthouse.js";

const { options, questions } = JSON.parse(process.argv[2]);
const channel = connect(options);
const ask = async (question) => {
  try {
    return { body: await channel.request(question, { timeout: 60_000 }) };
  } catch (error) {
    return { error: `${error.name}: ${error.message}` };
  }
};
const answers = await Promise.all(questions.map(ask));
await channel.close();
console.log(JSON.stringify(answers));
