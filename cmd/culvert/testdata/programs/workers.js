// child_process, worker_threads, streams, timers, crypto and the file system.
const { spawn, spawnSync, exec, execFileSync, fork } = require('child_process'), { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const fs = require('fs'), net = require('net'), crypto = require('crypto'), zlib = require('zlib'), { pipeline } = require('stream/promises'), once = require('events').once;
if (!isMainThread) {
	const shared = new Int32Array(workerData.shared);
	for (let i = 0; i < 1000; i++) Atomics.add(shared, 0, 1);
	parentPort.on('message', m => { if (m === 'end') process.exit(workerData.n); parentPort.postMessage(m * workerData.n); });
} else if (process.argv[2] === 'child') {
	process.on('message', m => process.send({ echo: m }, () => process.disconnect()));
} else (async () => {
	const cat = spawn('cat');
	let n = 0;
	cat.stdout.on('data', d => n += d.length);
	cat.stdin.end('x'.repeat(500000));
	console.log(await once(cat, 'close'), n);
	console.log(spawnSync('sh', ['-c', 'echo out; echo err >&2; exit 6']).status, execFileSync('seq', ['3']).toString());
	console.log(await new Promise(r => exec('exit 3', (e, out, err) => r(e.code))));
	console.log(await new Promise(r => exec('sleep 1000', { timeout: 200 }, e => r([e.killed, e.signal]))));
	const k = spawn('sleep', ['1000']);
	k.kill('SIGKILL');
	console.log(await once(k, 'exit'));
	const bad = spawn('/no/such');
	console.log((await once(bad, 'error'))[0].code);
	const f = fork(__filename, ['child']);
	f.send([1, 'two']);
	console.log(await once(f, 'message'));
	await once(f, 'exit');
	const shared = new SharedArrayBuffer(4), ws = [2, 3, 4].map(n => new Worker(__filename, { workerData: { n, shared } }));
	console.log(await Promise.all(ws.map(async w => { w.postMessage(10); return (await once(w, 'message'))[0]; })));
	ws.forEach(w => w.postMessage('end'));
	console.log(await Promise.all(ws.map(w => once(w, 'exit'))), new Int32Array(shared)[0]);
	console.log(await new Promise(r => crypto.pbkdf2('a', 'b', 1000, 16, 'sha256', (e, k) => r(k.toString('hex')))), zlib.gunzipSync(zlib.gzipSync('zip')).toString());
	fs.writeFileSync('big', 'y'.repeat(300000));
	await pipeline(fs.createReadStream('big'), zlib.createGzip(), zlib.createGunzip(), fs.createWriteStream('copy'));
	console.log(fs.statSync('copy').size, (await fs.promises.readdir('.')).filter(n => /^(big|copy)$/.test(n)).sort());
	const server = net.createServer(c => c.on('data', d => c.end(d.toString().toUpperCase()))).listen('node.sock');
	await once(server, 'listening');
	const c = net.connect('node.sock');
	c.write('hello');
	console.log((await once(c, 'data'))[0].toString());
	server.close();
	setTimeout(() => {}, 60000);
	let ticks = 0;
	const t = setInterval(() => { if (++ticks === 5) { clearInterval(t); console.log('ticks'); process.kill(process.pid, 'SIGUSR2'); } }, 5);
	process.on('SIGUSR2', () => { console.log('signal'); process.exitCode = 8; setImmediate(() => process.exit()); });
})();
