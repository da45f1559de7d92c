// Two processes send each other one byte in turn over two pipes.
//
//	pingpong [MESSAGES]
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
	int n = argc > 1 ? atoi(argv[1]) : 1000000, a[2], b[2];
	char c = 0;
	pipe(a), pipe(b);
	if (!fork()) {
		for (int i = 0; i < n / 2; i++) if (read(a[0], &c, 1) != 1 || c != (char)i || write(b[1], &c, 1) != 1) _exit(1);
		_exit(0);
	}
	for (int i = 0; i < n / 2; i++) {
		c = i;
		if (write(a[1], &c, 1) != 1 || read(b[0], &c, 1) != 1 || c != (char)i) return puts("broken"), 1;
	}
	int st;
	wait(&st);
	printf("%d messages, status %x\n", n / 2 * 2, st);
}
