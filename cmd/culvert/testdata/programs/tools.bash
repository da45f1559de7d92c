# A day's work with tools that lean on the system: git, gcc, xz, xargs -P, sqlite.
set -u; export LC_ALL=C TZ=UTC GIT_CONFIG_NOSYSTEM=1 GIT_PAGER=cat
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_AUTHOR_DATE='2001-02-03T04:05:06Z'
export GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b GIT_COMMITTER_DATE='2001-02-03T04:05:06Z'
git init -q -b main repo && cd repo
printf '%s\n' '#include <pthread.h>' 'int printf(const char *, ...);' 'static __thread int n;' \
	'static void *f(void *p) { n = 41; *(int *)p = n + 1; return 0; }' \
	'int main(void) { pthread_t t; int r; pthread_create(&t, 0, f, &r); pthread_join(t, 0); printf("%d\n", r + n); return 3; }' > a.c
seq 500 > numbers && git add . && git commit -q -m 'one' && git rev-parse HEAD
sed -i 's/^7$/seven/' numbers && git diff --stat && git commit -qam 'two'
cd .. && git clone -q repo copy && cd copy && git checkout -q -b side HEAD~1 && echo x > x && git add x && git commit -qm 'side'
git merge -q -m merged main > /dev/null && git status --short --branch && git ls-files -s
gcc -O1 -pthread a.c -o a && ./a; echo "exit $?"
xz -T2 -0 -kc numbers | xz -dc | cmp - numbers && echo xz
seq 8 | xargs -P 4 -I{} sh -c 'echo {} > n.{}'; cat n.*
/usr/bin/python3 - <<'END'
import os, sqlite3
def rows(): return sqlite3.connect('db', timeout=100).execute('select count(*), sum(n) from t').fetchone()
db = sqlite3.connect('db', timeout=100)
print(db.execute('pragma journal_mode=wal').fetchone())
db.execute('create table t(n integer primary key, s text)')
with db: db.executemany('insert into t values(?, ?)', ((i, 'x' * (i % 50)) for i in range(500)))
if (pid := os.fork()) == 0:
    other = sqlite3.connect('db', timeout=100)
    with other: other.execute('insert into t values(1000, ?)', ('y',))
    os._exit(0)
os.waitpid(pid, 0)
print(rows(), db.execute('pragma integrity_check').fetchone())
END
