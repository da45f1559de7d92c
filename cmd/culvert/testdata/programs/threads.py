"""threading, queues, pools, asyncio and signals in threads."""
import asyncio, concurrent.futures, os, queue, signal, subprocess, sys, threading, time

total, lock = 0, threading.Lock()
def add(n):
    global total
    for _ in range(n):
        with lock: total += 1
ts = [threading.Thread(target=add, args=(3000,)) for _ in range(8)]
for t in ts: t.start()
for t in ts: t.join()
print(total)
q, out = queue.Queue(10), []
def consume():
    while (x := q.get()) is not None: out.append(x); q.task_done()
c = threading.Thread(target=consume)
c.start()
for i in range(500): q.put(i)
q.join()
q.put(None)
c.join()
print(sum(out))
with concurrent.futures.ThreadPoolExecutor(6) as ex: print(sum(ex.map(lambda x: x * x, range(200))))
cond, turn, log = threading.Condition(), 0, []
def player(me):
    global turn
    for _ in range(50):
        with cond:
            cond.wait_for(lambda: turn % 2 == me)
            log.append(me)
            turn += 1
            cond.notify_all()
ps = [threading.Thread(target=player, args=(i,)) for i in range(2)]
for p in ps: p.start()
for p in ps: p.join()
print(log == [0, 1] * 50)
barrier = threading.Barrier(5)
n = []
bs = [threading.Thread(target=lambda: n.append(barrier.wait())) for _ in range(5)]
for b in bs: b.start()
for b in bs: b.join()
print(sorted(n))
ev = threading.Event()
t = time.monotonic()
print(ev.wait(0.1), time.monotonic() - t > 0.09)
tm = threading.Timer(0.05, ev.set)
tm.start()
print(ev.wait(100))
sem = threading.Semaphore(2)
print(sem.acquire(), sem.acquire(), sem.acquire(timeout=0.05))
got = []
signal.signal(signal.SIGUSR1, lambda *a: got.append(threading.current_thread() is threading.main_thread()))
k = threading.Thread(target=lambda: os.kill(os.getpid(), signal.SIGUSR1))
k.start()
k.join()
print(got)
runs = []
def run(i): runs.append(subprocess.run(['sh', '-c', f'echo {i}; exit {i}'], capture_output=True, text=True))
rs = [threading.Thread(target=run, args=(i,)) for i in range(6)]
for r in rs: r.start()
for r in rs: r.join()
print(sorted((r.returncode, r.stdout) for r in runs))
async def tick(n): await asyncio.sleep(0.01 * n); return n
async def echo(r, w): w.write((await r.readline()).upper()); await w.drain(); w.close()
async def main():
    print(await asyncio.gather(*(tick(i) for i in range(5))))
    server = await asyncio.start_unix_server(echo, 'async.sock')
    r, w = await asyncio.open_unix_connection('async.sock')
    w.write(b'hello\n')
    print(await r.readline())
    w.close()
    server.close()
    p = await asyncio.create_subprocess_exec('cat', stdin=-1, stdout=-1)
    o, _ = await p.communicate(b'z' * 200000)
    print(len(o), p.returncode)
    try: await asyncio.wait_for(asyncio.sleep(1000), 0.05)
    except asyncio.TimeoutError: print('timeout')
    print(await asyncio.to_thread(lambda: 42))
    loop = asyncio.get_running_loop()
    f = loop.create_future()
    loop.add_signal_handler(signal.SIGUSR2, f.set_result, 'signal')
    os.kill(os.getpid(), signal.SIGUSR2)
    print(await f)
asyncio.run(main())
d = threading.Thread(target=time.sleep, args=(100,), daemon=True)
d.start()
sys.exit(5)
