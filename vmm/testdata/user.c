/* The program that vmm's tests run in ring 3, without a Linux personality: system call numbers below 1000 are ring 0's
 * own, those above are served by the test's handler. Started as main(role, argument). */
typedef unsigned long u64;

static inline u64 call(u64 nr, u64 a, u64 b, u64 c)
{
	u64 r;
	asm volatile("syscall" : "=a"(r) : "a"(nr), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return r;
}

#define EXIT(v) for (;;) call(1000, v, 0, 0)
#define REPORT(k, v) call(1001, k, v, 0)
#define BLOCK() call(1002, 0, 0, 0)

static volatile u64 *const shared = (u64 *)0x10000000; /* one page, the same frame in every space */
static volatile unsigned char *const demand = (unsigned char *)0x20000000;
static volatile u64 *const cow = (u64 *)0x30000000;

static void add(volatile u64 *p, u64 n)
{
	asm volatile("lock addq %1, %0" : "+m"(*p) : "r"(n) : "memory");
}

static void basics(void)
{
	u64 gs = 0x1234567, fs = 0x7654321, v;
	REPORT(0, call(186, 0, 0, 0));
	REPORT(1, call(1003, 5, 6, 7));
	asm volatile("wrgsbase %0; wrfsbase %1" :: "r"(gs), "r"(fs));
	call(1003, 0, 0, 0);
	call(24, 0, 0, 0);
	asm volatile("rdgsbase %0" : "=r"(v));
	REPORT(2, v);
	asm volatile("rdfsbase %0" : "=r"(v));
	REPORT(3, v);
	for (u64 i = 0; i < 700; i++) {
		if (demand[i * 4096] != 0)
			REPORT(4, i);
		demand[i * 4096] = i;
	}
	v = 0;
	for (u64 i = 0; i < 700; i++)
		v += demand[i * 4096] == (unsigned char)i;
	REPORT(5, v);
	REPORT(6, cow[0]);
	cow[0] = 99;
	REPORT(7, cow[0]);
	REPORT(8, cow[1]);
	EXIT(42);
}

static void counter(u64 n)
{
	add(&shared[0], 1);
	while (shared[0] < 2) /* both run at the same time, or this never ends */
		;
	for (u64 i = 0; i < n; i++)
		add(&shared[1], 1);
	EXIT(0);
}

static void spin(void)
{
	for (;;)
		add(&shared[2], 1);
}

/* Calls ring 0 without pause: a kick mostly arrives there. */
static void caller(u64 n)
{
	for (u64 i = 0; i < n; i++)
		if (call(186, 0, 0, 0) == 0)
			EXIT(1);
	EXIT(0);
}

/* Fills the registers with a pattern of its own and looks at them for n rounds while it is preempted and moved. */
static void registers(u64 seed, u64 n)
{
	static u64 in[64] __attribute__((aligned(32))), out[64] __attribute__((aligned(32)));
	u64 avx = call(1004, 0, 0, 0), bad = 0;
	for (int i = 0; i < 64; i++)
		in[i] = seed * 0x0101010101010101ul + i;
	for (u64 r = 0; r < n; r++) {
		if (avx)
			asm volatile("vmovups (%0),%%ymm0; vmovups 32(%0),%%ymm1; vmovups 64(%0),%%ymm7; vmovups 96(%0),%%ymm14; vmovups 128(%0),%%ymm15;"
				     "mov $300, %%ecx; 1: dec %%ecx; jnz 1b; mov $24, %%eax; syscall;"
				     "vmovups %%ymm0,(%1); vmovups %%ymm1,32(%1); vmovups %%ymm7,64(%1); vmovups %%ymm14,96(%1); vmovups %%ymm15,128(%1)"
				     :: "r"(in), "r"(out) : "rax", "rcx", "r11", "memory");
		else
			asm volatile("movups (%0),%%xmm0; movups 32(%0),%%xmm1; movups 64(%0),%%xmm7; movups 96(%0),%%xmm14; movups 128(%0),%%xmm15;"
				     "mov $300, %%ecx; 1: dec %%ecx; jnz 1b; mov $24, %%eax; syscall;"
				     "movups %%xmm0,(%1); movups %%xmm1,32(%1); movups %%xmm7,64(%1); movups %%xmm14,96(%1); movups %%xmm15,128(%1)"
				     :: "r"(in), "r"(out) : "rax", "rcx", "r11", "memory");
		for (int i = 0; i < 20; i++)
			if ((avx || (i & 3) < 2) && out[i] != in[i])
				bad++;
	}
	REPORT(seed, bad);
	EXIT(bad != 0);
}

/* Two threads share an address space: the writer writes a page that the host keeps making copy-on-write again, the
 * reader must never see a value go backwards. */
static void cowWriter(u64 n)
{
	for (u64 i = 1; i <= n; i++) {
		cow[0] = i;
		shared[3] = i;
		if ((i & 15) == 0)
			call(1005, 0, 0, 0); /* the host write-protects the page with a second reference */
	}
	shared[4] = 1;
	EXIT(0);
}

static void cowReader(void)
{
	u64 stale = 0, rounds = 0;
	while (!shared[4]) {
		u64 published = shared[3];
		asm volatile("" ::: "memory");
		if (cow[0] < published)
			stale++;
		rounds++;
	}
	REPORT(20, stale);
	REPORT(21, rounds);
	EXIT(0);
}

/* Blocks in the handler n times; each time something wakes it. */
static void sleeper(u64 n)
{
	for (u64 i = 0; i < n; i++)
		BLOCK();
	EXIT(0);
}

void cmain(u64 role, u64 arg)
{
	switch (role) {
	case 0: basics();
	case 1: counter(arg);
	case 2: spin();
	case 3: caller(arg);
	case 4: registers(arg & 15, arg >> 4);
	case 5: cowWriter(arg);
	case 6: cowReader();
	case 7: sleeper(arg);
	case 8: asm volatile("int $0x80"); EXIT(9);
	case 9: *(volatile u64 *)0xffff880000000000ul = 1; EXIT(9);
	case 10: asm volatile("hlt"); EXIT(9);
	}
	EXIT(100);
}

asm(".globl _start\n_start: xor %ebp,%ebp; and $-16,%rsp; call cmain; ud2");
