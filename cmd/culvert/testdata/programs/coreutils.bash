# Coreutils, findutils, tar, gzip and diff on files and pipes.
set -u; export LC_ALL=C TZ=UTC
seq 20000 | sed 's/^/line /' > big
sort -R --random-source=big big | sort -S 100K -T . -n -k 2 | cmp - big && echo sorted
split -l 7000 -d big part.; cat part.* | cmp - big && wc -l part.*
join <(seq 5 | sed 's/$/ x/') <(seq 3 8 | sed 's/$/ y/')
dd if=/dev/zero of=z bs=4096 count=100 seek=50 2> /dev/null
stat -c '%s %F %a %h' z; truncate -s 123456 z
cp --sparse=always z z2 && cmp z z2 && echo same
ln z hard; ln -s z soft; stat -c %h z; readlink -f soft | sed 's,.*/,,'; realpath --relative-to=/usr /usr/bin/../lib
touch -d '2001-02-03 04:05:06.789' t; chmod u=rwxs,g=rx,o= t
ls -l --time-style=full-iso t | cut -d' ' -f1,2,5-8
mkdir -p tree/a/b/c tree/d
for i in {1..30}; do echo $i > tree/a/f$i; done; echo > tree/d/.hidden
find tree -newer t -type d | sort; find tree -empty
find tree -name 'f2?' -delete -printf x | wc -c
find tree -type f -exec cat {} + | wc -l
du -a --apparent-size tree/d | wc -l; ls -aR tree | md5sum
tar cf - --sort=name --mtime=@0 --owner=0 --group=0 tree | tee t.tar | md5sum
mkdir x; tar xf t.tar -C x; diff -r tree x/tree && echo tar same
gzip -k9 big; zcat big.gz | cmp - big && echo gzip same
cp -a tree copy; mv copy/a copy/z; ls copy; rm -rf copy
sed -i 's/line/LINE/' big; sed -n '5,7p;7q' big
head -c 100 /dev/urandom | wc -c; tail -c 20 big
(while sleep 0.1; do echo more; done >> big) & writer=$!
tail -n 0 -f big 2> /dev/null | head -n 1
{ kill "$writer"; wait; } 2> /dev/null
cat big | tee >(wc -c > c1) | wc -c > c2
until [ -s c1 ]; do sleep 0.02; done; cmp c1 c2 && echo counted
env -i A=1 sh -c 'echo $A ${PATH:+path}'; nice -n 5 nice; sync big
mkfifo p; (cat p > got &)
echo via fifo > p; until [ -s got ]; do sleep 0.02; done; cat got
(flock 9; flock -n big true; echo "busy $?") 9< big
