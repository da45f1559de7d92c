# Python subprocess stress: communicate with large I/O, close_fds, pass_fds, timeout, missing program
# Reported in: microsoft/WSL#4525, python/cpython#131398; related: python/cpython#80004, python/cpython#91401, python/cpython#91307 (vfork EINVAL as PID 1)
# Linux: 1 MiB each way completes; FileNotFoundError raised; TimeoutExpired then kill gives -9; pass_fds visible in the child; 50 short children all return
import os, signal, subprocess, sys, threading
signal.alarm(150)
d = os.urandom(1 << 20)
p = subprocess.run(['cat'], input=d, capture_output=True); assert p.stdout == d and p.returncode == 0
p = subprocess.Popen([sys.executable, '-c', 'import sys; sys.stderr.write("e"*300000); sys.stdout.write("o"*300000); sys.exit(5)'], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
o, e = p.communicate(); assert len(o) == len(e) == 300000 and p.returncode == 5
try: subprocess.run(['/nonexistent-prog']); assert 0
except FileNotFoundError: pass
try: subprocess.run(['sleep', '30'], timeout=0.3); assert 0
except subprocess.TimeoutExpired: pass
p = subprocess.Popen(['sleep', '30']); p.kill(); assert p.wait() == -9
r, w = os.pipe(); subprocess.run(['sh', '-c', 'echo via >&%d' % w], pass_fds=[w], check=True); os.close(w); assert os.read(r, 99) == b'via\n' and os.read(r, 9) == b''
for i in range(50): assert subprocess.check_output(['echo', str(i)]) == b'%d\n' % i
a = subprocess.Popen(['yes'], stdout=subprocess.PIPE); b = subprocess.Popen(['head', '-n', '3'], stdin=a.stdout, stdout=subprocess.PIPE); a.stdout.close()
assert b.communicate()[0] == b'y\n' * 3 and a.wait() == -signal.SIGPIPE
ok = []
def t(i): ok.append(subprocess.run(['sh', '-c', 'cat; exit %d' % i], input=b'x' * 100000, capture_output=True).returncode == i)
ts = [threading.Thread(target=t, args=(i,)) for i in range(8)]; [x.start() for x in ts]; [x.join() for x in ts]; assert all(ok) and len(ok) == 8
