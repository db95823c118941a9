=== What SQL asks of the machine, the clock, chance and the past of a connection, comes from the entry: in DML, DEFAULT,
=== trigger, view and generated column.
--- tables
create table t(id integer primary key, a, r default (random()), at default current_timestamp, b default (randomblob(5)));
create table log(what, v);
create trigger t_log after insert on t begin
  insert into log values('time', strftime('%Y-%m-%d %H:%M:%f', 'now')), ('random', random()), ('rowid', last_insert_rowid()), ('changes', changes());
end;
create view now(stamp, dice, blob) as select strftime('%s', 'now'), random(), randomblob(3);
--- CURRENT_* and every date function without an argument
insert into t(a) values(current_timestamp), (current_date), (current_time), (datetime()), (date()), (time()), (julianday()), (unixepoch()), (strftime('%f')) returning a
>>> 2024-01-01 00:00:03 2024-01-01 00:00:03 2024-01-01 00:00:03 2024-01-01 00:00:03 2.460310500034965e+06 1704067203 03.021
--- the same with 'now', to the millisecond
insert into t(a) values(datetime('now', 'subsec')), (strftime('%Y-%m-%dT%H:%M:%f', 'now')), (julianday('now')), (unixepoch('now', 'subsec')), (time('now', '+1 hour')), (timediff('now', '2000-01-01')) returning a
>>> 2024-01-01 00:00:04.028 2024-01-01T00:00:04.028 2.46031050004662e+06 1.704067204028e+09 01:00:04 +0024-00-00 00:00:04.028
--- 'now' is the same in every row of one statement
select count(distinct strftime('%f', 'now')) from (with recursive n(i) as (select 1 union all select i + 1 from n where i < 2000) select i from n)
>>> 1
--- the clock in a DEFAULT and in a trigger
insert into t(a) values('x') returning at
>>> 2024-01-01 00:00:06
--- what the trigger wrote
select what, v from log where what in ('time', 'rowid') order by rowid desc limit 2
>>> rowid|62 time|2024-01-01 00:00:06.042
--- local time is UTC
insert into t(a) values(datetime('2024-07-01 12:00', 'localtime')), (datetime('2024-07-01 12:00', 'utc')), (strftime('%H', 'now', 'localtime') = strftime('%H', 'now')) returning a
>>> 2024-07-01 12:00:00 2024-07-01 12:00:00 1
--- a clock in a generated column is refused by SQLite itself, when a row is written
create table g1(a, b as (datetime('now')) stored); insert into g1(a) values(1)
!!! non-deterministic use of datetime() in a generated column (sqlite code 1)
--- and a random number
create table g2(a, b as (random()) stored)
!!! non-deterministic functions prohibited in generated columns (sqlite code 1)
--- and CURRENT_TIMESTAMP
create table g3(a, b as (current_timestamp) stored); insert into g3(a) values(1)
!!! non-deterministic functions prohibited in generated columns (sqlite code 1)
--- and a clock in an index
create index t_now on t(date('now'))
!!! non-deterministic use of date() in an index (sqlite code 1)
--- and in a CHECK
create table g4(a check (a < datetime('now'))); insert into g4 values(1)
!!! non-deterministic use of datetime() in a CHECK constraint (sqlite code 1)
--- a date of a column is a function of the row
create table g(a, day as (date(a)) stored, r as (round(a * 1.5, 1)) virtual);
insert into g(a) values('2024-02-29 10:00'), (2460000.5) returning day, r
>>> 2024-02-29|3036 2023-02-25|3.6900008e+06
--- random() in VALUES
insert into t(id, a) values(1001, random()), (1002, abs(random()) % 100) returning a
>>> -8882435919750266709 25
--- randomblob() in VALUES
insert into t(id, a) values(1003, randomblob(4)), (1004, hex(randomblob(6))), (1005, randomblob(0)), (1006, length(randomblob(-3))) returning a
>>> x'55125275' 867F7F2B1017 x'64' 1
--- randomblob(?) with a bound length
insert into t(id, a) values(1007, randomblob(?)) returning a
<<< 7
>>> x'867f7f2b1017cf'
--- ORDER BY random()
insert into log select 'shuffled', id from t order by random();
select group_concat(v) from log where what = 'shuffled'
>>> 1004,8,11,4,17,2,3,7,5,12,13,16,1006,15,1007,1005,1,14,1001,10,19,1003,6,18,9,1002
--- UPDATE of rows that chance chose
update t set a = 'chosen' where id in (select id from t order by random() limit 4) returning id
>>> 3 7 10 1003
--- DELETE of rows that chance chose
delete from t where id in (select id from t order by randomblob(4) limit 3) returning id
>>> 2 7 8
--- random() in a DEFAULT, in each row its own
insert into t(a) values(1), (2), (3);
select count(distinct r), count(distinct b) from t
>>> 23|23
--- random() in a trigger
insert into t(a) values('trigger'); select v from log where what = 'random' order by rowid desc limit 1
>>> -2487110880056020375
--- clock and chance through a view
insert into log select 'view', stamp || ' ' || dice || ' ' || hex(blob) from now; select v from log where what = 'view'
>>> 1704067223 6073503041918755660 697240
--- random() as the row of an INSERT ... SELECT that reads what it writes
insert into t(a) select random() % 1000 from t limit 20; select count(*), sum(a) from t
>>> 47|-8.882435918043722e+18
--- random() in the second statement of a text
select 1; select random(), hex(randomblob(8))
>>> -7827675127045402757|00332392BC2EB869
--- random() in UPSERT and RETURNING
insert into t(id, a) values(1, 0) on conflict(id) do update set a = random() % 10 returning a, random() % 7
>>> -8|-1
--- random() in a partial index, a window and an aggregate
select sum(random() % 5) over (order by i rows 1 preceding), count(*) filter (where random() > 0) over () from (select 1 as i union select 2 union select 3)
>>> 0|1 0|1 4|1
--- a CTE that is evaluated once
with r(x) as materialized (select random()) select count(distinct x) from (select x from r union all select x from r)
>>> 1
--- nothing of the entries before: last_insert_rowid(), changes(), total_changes()
insert into log values('before', last_insert_rowid() || ' ' || changes() || ' ' || total_changes()); select v from log where what = 'before'
>>> 0 0 0
--- but of this entry
insert into t(id, a) values(5000, 1), (5001, 2); update t set a = a where id > 4000; select last_insert_rowid(), changes(), total_changes() > 5
>>> 5001|2|1
--- the usual idiom for a child row
insert into t(id, a) values(6000, 'parent'); insert into log values('child', last_insert_rowid()); select v from log where what = 'child'
>>> 6000
--- the usual idiom for update or insert
update t set a = 2 where id = 7000; insert into t(id, a) select 7000, 1 where changes() = 0; select a from t where id = 7000
>>> 1
--- after an error the entry leaves nothing of the three
insert into t(id, a) values(8000, 1); insert into absent values(1)
!!! no such table: absent (sqlite code 1)
--- as this shows
select last_insert_rowid(), changes(), total_changes()
>>> 0|0|0
--- changes() counts the rows, total_changes() those of triggers too
insert into t(a) values('a'), ('b'); select changes(), total_changes()
>>> 2|10
--- DELETE without WHERE counts
delete from log; select changes() > 10, total_changes() = changes()
>>> 1|1
--- a foreign key action counts in total_changes() alone
create table p(id integer primary key); create table c(p references p on delete cascade); insert into p values(1); insert into c values(1), (1), (1);
delete from p; select changes(), total_changes()
>>> 1|8
--- sqlite_sequence continues where it was
create table auto(id integer primary key autoincrement, v); insert into auto(v) values('a'), ('b'); delete from auto; insert into auto(v) values('c') returning id
>>> 3
--- a rolled-back key of AUTOINCREMENT is used again
insert into auto(v) values('gone'); insert into absent values(1)
!!! no such table: absent (sqlite code 1)
--- here
insert into auto(v) values('d') returning id
>>> 4
--- arithmetic of real numbers
insert into log values('real', 0.1 + 0.2), ('real', 1e308 * 10), ('real', -7 / 2), ('real', round(2.5)), ('real', 1.0 / 3), ('real', exp(1)), ('real', sin(1e5)), ('real', 9007199254740993 * 1.0);
select v from log where what = 'real'
>>> 0.30000000000000004 +Inf -3 3 0.3333333333333333 2.718281828459045 0.03574879797201651 9.007199254740992e+15
--- the day of the entry
insert into log values('day', date('now')), ('clock', time('now')), ('moved', date('now', 'start of month', '+1 month', '-1 day')); select v from log where what in ('day', 'clock', 'moved')
>>> 2024-01-01 00:00:42 2024-01-31
--- a generated column may not have the time
create table late(a, b as (date('now'))); insert into late values(1); select b from late
!!! non-deterministic use of date() in a generated column (sqlite code 1)
--- nor may the condition of an index
create index log_late on log(v) where v > datetime('now')
!!! non-deterministic use of datetime() in an index (sqlite code 1)
--- nor may a CHECK
create table checked(a check (a < strftime('%s', 'now'))); insert into checked values('1')
!!! non-deterministic use of strftime() in a CHECK constraint (sqlite code 1)
