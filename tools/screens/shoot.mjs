// Saves one page of Chromium as a PNG. It needs no packages: Node's own WebSocket talks to Chromium.
//
//   node --experimental-websocket shoot.mjs URL OUT.png WIDTH HEIGHT [SECONDS [SCRIPT.js]]
//
// SCRIPT runs in the page after SECONDS; the picture is taken two seconds later.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const [url, out, width, height, seconds = '1', script] = process.argv.slice(2);
const pause = (s) => new Promise((done) => setTimeout(done, s * 1000));
const profile = mkdtempSync(join(tmpdir(), 'screens-'));
const chromium = spawn(process.env.CHROMIUM ?? 'chromium', [
  '--headless=new', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--remote-debugging-port=0',
  `--user-data-dir=${profile}`, 'about:blank',
], { stdio: ['ignore', 'ignore', 'pipe'] });
try {
  const browser = await new Promise((done) => {
    let text = '';
    chromium.stderr.on('data', (bytes) => {
      text += bytes;
      const found = text.match(/DevTools listening on (ws:\S+)/);
      if (found) done(new URL(found[1]));
    });
  });
  const tabs = await (await fetch(`http://127.0.0.1:${browser.port}/json/list`)).json();
  const socket = new WebSocket(tabs.find((tab) => tab.type === 'page').webSocketDebuggerUrl);
  await new Promise((done) => { socket.onopen = done; });
  const waiting = new Map();
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    waiting.get(message.id)?.(message);
  };
  let calls = 0;
  const call = (method, params) => new Promise((done) => {
    waiting.set(++calls, done);
    socket.send(JSON.stringify({ id: calls, method, params }));
  });
  await call('Emulation.setDeviceMetricsOverride', {
    width: Number(width), height: Number(height), deviceScaleFactor: 1, mobile: false,
  });
  await call('Page.navigate', { url });
  await pause(Number(seconds));
  if (script) {
    const expression = readFileSync(script, 'utf8');
    const { result } = await call('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    if (result.exceptionDetails) throw new Error(JSON.stringify(result.exceptionDetails));
    await pause(2);
  }
  const { result } = await call('Page.captureScreenshot', { format: 'png' });
  writeFileSync(out, Buffer.from(result.data, 'base64'));
  socket.close();
} finally {
  chromium.kill();
  await new Promise((done) => chromium.on('exit', done));
  await pause(0.3);
  rmSync(profile, { recursive: true, force: true, maxRetries: 9, retryDelay: 200 });
}
