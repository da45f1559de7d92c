"""subprocess, multiprocessing, signals, locks, maps and sockets."""
import fcntl, mmap, multiprocessing, os, select, selectors, signal, socket, subprocess, sys, tempfile, time

def square(n): return n * n
def worker(q, r):
    for x in iter(q.get, None): r.put(x + 1)
def locked(lock, value, n):
    for _ in range(n):
        with lock: value.value += 1
def child(conn):
    conn.send({'got': conn.recv(), 'big': 'x' * 300000}); conn.close()

def main():
    r = subprocess.run(['sh', '-c', 'cat; echo err >&2; exit 3'], input=b'y' * 400000, capture_output=True); print(len(r.stdout), r.stderr, r.returncode)
    a = subprocess.Popen(['seq', '100000'], stdout=subprocess.PIPE); b = subprocess.Popen(['wc', '-l'], stdin=a.stdout, stdout=subprocess.PIPE); a.stdout.close(); print(b.communicate()[0].strip(), a.wait())
    try: subprocess.run(['sleep', '20'], timeout=0.2)
    except subprocess.TimeoutExpired: print('timeout')
    print(subprocess.call('exit 7', shell=True), subprocess.getoutput('echo $((1+2))'))
    for ctx in map(multiprocessing.get_context, ('fork', 'spawn')):
        with ctx.Pool(3) as p: print(sum(p.map(square, range(100))), p.apply_async(square, (9,)).get(60))
    q, s = multiprocessing.Queue(), multiprocessing.Queue(); ps = [multiprocessing.Process(target=worker, args=(q, s)) for _ in range(3)]
    for p in ps: p.start()
    for i in range(200): q.put(i)
    for p in ps: q.put(None)
    print(sum(s.get() for _ in range(200)))
    for p in ps: p.join()
    lock, value = multiprocessing.Lock(), multiprocessing.Value('i', 0, lock=False); ps = [multiprocessing.Process(target=locked, args=(lock, value, 300)) for _ in range(3)]
    for p in ps: p.start()
    for p in ps: p.join()
    print(value.value, [p.exitcode for p in ps])
    x, y = multiprocessing.Pipe(); p = multiprocessing.Process(target=child, args=(y,)); p.start(); x.send([1, 2]); m = x.recv(); print(m['got'], len(m['big'])); p.join()
    from multiprocessing import shared_memory; m = shared_memory.SharedMemory(create=True, size=10000); m.buf[:5] = b'hello'; n = shared_memory.SharedMemory(m.name); print(bytes(n.buf[:5])); n.close(); m.close(); m.unlink()
    hits = []; signal.signal(signal.SIGALRM, lambda *a: hits.append(1)); signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01); t = time.monotonic()
    while len(hits) < 5 and time.monotonic() - t < 20: time.sleep(0.1)
    signal.setitimer(signal.ITIMER_REAL, 0); print('alarms', len(hits) >= 5)
    p = subprocess.Popen(['sleep', '20']); p.terminate(); print(p.wait()); pid = os.fork()
    if pid == 0: os._exit(11)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    with tempfile.TemporaryFile() as f:
        f.truncate(10000); m = mmap.mmap(f.fileno(), 10000); m[9990:9995] = b'abcde'; m.flush(); f.seek(9990); print(f.read(5))
        pid = os.fork()
        if pid == 0: m[0:1] = b'Z'; os._exit(0)
        os.waitpid(pid, 0); print(m[0:1]); m.close()
    with open('lockf', 'w') as f, open('lockf') as g:
        fcntl.flock(f, fcntl.LOCK_EX)
        try: fcntl.flock(g, fcntl.LOCK_EX | fcntl.LOCK_NB); print('free')
        except BlockingIOError: print('held')
    l = socket.socket(socket.AF_UNIX); l.bind('sock'); l.listen(); pid = os.fork()
    if pid == 0:
        c = socket.socket(socket.AF_UNIX); c.connect('sock'); r, w = os.pipe(); os.write(w, b'through'); socket.send_fds(c, [b'fd'], [r]); c.recv(1); os._exit(0)
    c, _ = l.accept(); msg, fds, _, _ = socket.recv_fds(c, 10, 1); print(msg, os.read(fds[0], 100)); c.close(); os.waitpid(pid, 0)
    sel = selectors.DefaultSelector(); a, b = socket.socketpair(); sel.register(a, selectors.EVENT_READ); print(sel.select(0.05)); b.send(b'!'); print(len(sel.select(5))); print(select.select([a], [b], [], 0)[0] == [a])
    os.mkdir('d'); os.symlink('d', 'l'); print(sorted(e.name for e in os.scandir('.') if e.is_dir())); print(sum(len(f) for _, _, f in os.walk('/usr/lib/python3')) > -1)
    sys.exit(21)

if __name__ == '__main__': main()
