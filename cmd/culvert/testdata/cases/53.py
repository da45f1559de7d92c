# asyncio subprocess (pidfd or SIGCHLD watcher) with pipes and cancellation
# Reported in: related: google/gvisor#5839 (pidfd incomplete), golang/go#62654
# Linux: 10 concurrent children, each 64 KiB+ through stdin/stdout, exit codes right; kill + wait returns -9
import asyncio, signal
signal.alarm(150)
async def one(i):
    p = await asyncio.create_subprocess_exec('sh', '-c', 'cat; exit %d' % i, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    d = bytes([i]) * 200000; o, _ = await p.communicate(d); assert o == d and p.returncode == i
async def main():
    await asyncio.gather(*[one(i) for i in range(10)])
    p = await asyncio.create_subprocess_exec('sleep', '30')
    try: await asyncio.wait_for(p.wait(), 0.2); assert 0
    except asyncio.TimeoutError: pass
    p.kill(); assert await p.wait() == -9
    t0 = asyncio.get_running_loop().time(); await asyncio.sleep(0.05); assert asyncio.get_running_loop().time() - t0 >= 0.049
asyncio.run(main())
