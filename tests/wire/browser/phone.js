// A browser phone that does what the test tells it and reports what it hears.
// The page is opened with its account in the query: ?ws=...&uri=...&password=...&tone=...&listen=700,1400

import JsSIP from "jssip";

const FFT = 16384;
const asked = new URLSearchParams(location.search);
const listened = asked.get("listen").split(",").map(Number);
const report = { states: [], levels: {}, ice: "", error: "" };
const sound = new AudioContext();
const ear = new AnalyserNode(sound, { fftSize: FFT });
let session = null;

window.addEventListener("error", (event) => (report.error ||= event.message));
window.addEventListener("unhandledrejection", (event) => (report.error ||= String(event.reason)));

function mouth() {
  const tone = new OscillatorNode(sound, { frequency: Number(asked.get("tone")) });
  const level = new GainNode(sound, { gain: 0.3 });
  const out = new MediaStreamAudioDestinationNode(sound, { channelCount: 1 });
  tone.connect(level).connect(out);
  tone.start();
  return out.stream;
}

// What comes in flows only while an element plays it, even one that is muted.
function listen(event) {
  const stream = new MediaStream([event.track]);
  const player = new Audio();
  player.muted = true;
  player.srcObject = stream;
  player.play();
  new MediaStreamAudioSourceNode(sound, { mediaStream: stream }).connect(ear);
}

// Power of one frequency in dB below a full-scale sine (Goertzel).
function levelDb(samples, hz) {
  const turn = 2 * Math.cos((2 * Math.PI * hz) / sound.sampleRate);
  let one = 0;
  let two = 0;
  for (const sample of samples) {
    [one, two] = [sample + turn * one - two, one];
  }
  const power = (one * one + two * two - turn * one * two) / (samples.length / 2) ** 2;
  return Math.max(-120, 10 * Math.log10(power + 1e-12));
}

function follow(call) {
  session = call;
  const connected = (pc) => {
    pc.addEventListener("track", listen);
    pc.addEventListener("iceconnectionstatechange", () => (report.ice = pc.iceConnectionState));
  };
  call.on("peerconnection", ({ peerconnection }) => connected(peerconnection));
  if (call.connection) connected(call.connection);
  for (const state of ["accepted", "confirmed", "hold", "unhold"]) {
    call.on(state, () => report.states.push(state));
  }
  call.on("ended", ({ cause }) => report.states.push(`ended: ${cause}`));
  call.on("failed", ({ cause }) => report.states.push(`failed: ${cause}`));
}

const account = {
  sockets: [new JsSIP.WebSocketInterface(asked.get("ws"))],
  uri: asked.get("uri"),
  password: asked.get("password"),
  session_timers: false,
};
const phone = new JsSIP.UA(account);
const own = { mediaStream: mouth(), pcConfig: { iceServers: [] }, mediaConstraints: { audio: true, video: false } };

phone.on("registered", () => report.states.push("registered"));
phone.on("registrationFailed", ({ cause }) => report.states.push(`refused: ${cause}`));
phone.on("newRTCSession", ({ originator, session: call }) => {
  follow(call);
  if (originator === "remote") call.answer(own);
});

const commands = {
  dial: (uri) => phone.call(uri, own),
  hold: () => session.hold(),
  unhold: () => session.unhold(),
  hangup: () => session.terminate(),
};

async function tick() {
  const samples = new Float32Array(FFT);
  ear.getFloatTimeDomainData(samples);
  for (const hz of listened) report.levels[hz] = levelDb(samples, hz);
  const told = await fetch("/told", { method: "POST", body: JSON.stringify(report) });
  for (const [name, ...words] of await told.json()) commands[name](...words);
  setTimeout(tick, 100);
}

phone.start();
sound.resume();
tick();
