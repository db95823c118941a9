=== The rest of the language, in ways that several rows, plans or orders could make differ.
--- DDL of every kind
create table a(id integer primary key, x int, y text collate nocase, z real default 1.5, unique(x, y), check (x is null or x >= 0)); create table b(k text primary key, v) without rowid; create table s(i int, r real, t text, b blob, any_ any) strict; create view v(x, n) as select x, count(*) from a group by x; create index a_y on a(y desc) where x > 1; create unique index b_v on b(v)
--- IF NOT EXISTS
create table if not exists a(zzz); create index if not exists a_y on a(x); create view if not exists v as select 1; drop table if exists absent; drop view if exists absent; drop index if exists absent; drop trigger if exists absent
--- STRICT refuses a wrong type
insert into s values('x', 1, 'a', x'00', null)
!!! cannot store TEXT value in INT column s.i (sqlite code 3091)
--- and takes the right ones
insert into s values('12', 1, 5, x'00', 1.5), (null, null, null, null, 'x') returning typeof(i), typeof(r), typeof(t), typeof(b), typeof(any_)
>>> integer|real|text|blob|real null|null|null|null|text
--- affinity
insert into a(x, y, z) values('7', 7, '2.50'), (8.0, 'b', 'text'), (null, null, null) returning typeof(x), typeof(y), typeof(z)
>>> integer|text|real integer|text|text null|null|null
--- UPSERT with DO UPDATE, WHERE and excluded
insert into b values('k', 1), ('l', 2); insert into b values('k', 10), ('m', 3) on conflict(k) do update set v = excluded.v + v where excluded.v > 5 returning k, v
>>> k|11 m|3
--- UPSERT by another key, DO NOTHING
insert into b values('n', 2) on conflict(v) do nothing; insert into b values('k', 99) on conflict do nothing; select group_concat(k || v) from b
>>> l2,m3,k11
--- REPLACE deletes by each key
replace into b values('k', 2); select group_concat(k || v) from b
>>> k2,m3
--- RETURNING of UPDATE and DELETE
update b set v = v * 2 returning *; delete from b where v > 3 returning k, v, changes()
>>> k|4|2 m|6|2
--- UPDATE FROM
insert into a(x, y) values(1, 'one'), (2, 'two'), (3, 'three'); update a set z = o.n from (select x, row_number() over (order by y) as n from a) as o where a.x = o.x; select group_concat(z) from a
>>> 2.0,3.0,4.0,6.0,5.0
--- CTE, recursive, in INSERT
insert into a(x, y) with recursive f(i, a, b) as (select 1, 1, 1 union all select i + 1, b, a + b from f where i < 10) select a, 'fib' || i from f; select sum(x) from a
>>> 164
--- CTE in DELETE and UPDATE
with many as (select id from a where y like 'fib%' limit 4) delete from a where id in many; with m(v) as (select max(x) from a) update a set z = (select v from m) where x = 1; select count(*), max(z) from a
>>> 12|55
--- window functions in a write
create table w(i, r, d, n); insert into w select id, row_number() over (order by y), dense_rank() over (order by x), ntile(3) over (order by id desc) from a; select group_concat(i || '.' || r || '.' || d || '.' || n) from w
>>> 3.1.1.3,1.2.6.3,2.3.7.3,16.4.11.1,11.5.5.2,12.6.7.2,13.7.8.1,14.8.9.1,15.9.10.1,4.10.2.3,6.11.4.2,5.12.3.2
--- compound selects
insert into w(i) select x from a union select i from w except select 3 intersect select id from a; select count(*) from w
>>> 23
--- joins of every kind
select count(*) from a left join w on a.id = w.i full join b on b.v = a.x cross join (select 1) right join s on s.i = a.x
>>> 2
--- a trigger of each kind
create table audit(t, o, n); create trigger a_i before insert on a begin insert into audit values('bi', null, new.x); end; create trigger a_u after update of x, y on a when old.x is not new.x begin insert into audit values('au', old.x, new.x); end; create trigger a_d after delete on a for each row begin insert into audit values('ad', old.x, null); end; create trigger v_i instead of insert on v begin insert into a(x, y) values(new.x, 'via ' || new.n); end
--- fired
insert into v values(77, 3); update a set x = x + 1 where x in (77, 2); delete from a where x = 78; select group_concat(t || coalesce(o, '-') || coalesce(n, '-')) from audit
>>> bi-77,au23,au7778,ad78-
--- a trigger with CTE-free subqueries, UPSERT and RETURNING's place
create trigger a_up after insert on a begin insert into b values(new.y, new.x) on conflict(k) do update set v = excluded.v; delete from w where i = new.id; end; insert into a(x, y) values(500, 'u'), (501, 'U'); select group_concat(k || v) from b
>>> u500,U501
--- generated columns, stored and virtual, indexed
create table g(a, b as (a * 2) stored, c as (json_extract(a, '$.k')), d as (lower(a)) virtual unique); create index g_c on g(c); insert into g(a) values('{"k":5}'), (4), ('{"X":1}'); select a, b, c, d from g
>>> {"k":5}|0|5|{"k":5} 4|8|null|4 {"X":1}|0|null|{"x":1}
--- a unique one that conflicts
insert into g(a) values('{"x":1}')
!!! UNIQUE constraint failed: g.d (sqlite code 2067)
--- writing one
insert into g(a, b) values(1, 2)
!!! cannot INSERT into generated column "b" (sqlite code 1)
--- ALTER TABLE
alter table g add column e default 'new'; alter table g rename column e to ee; alter table g drop column ee; alter table g rename to gg; select sql from sqlite_schema where name = 'gg'
>>> CREATE TABLE "gg"(a, b as (a * 2) stored, c as (json_extract(a, '$.k')), d as (lower(a)) virtual unique)
--- ALTER TABLE that the rows forbid
alter table gg add column nn not null
!!! Cannot add a NOT NULL column with default value NULL (sqlite code 1)
--- a view over what is renamed
create table a2(x, y); create view over_ as select x from a2; alter table a2 rename column x to xx; select sql from sqlite_schema where name = 'over_'
>>> CREATE VIEW over_ as select xx from a2
--- dropping a column that a view needs
alter table a2 drop column xx
!!! error in view over_ after drop column: no such column: xx (sqlite code 1)
--- JSON
insert into w(i) select value from json_each('[5,6,7]'); update w set r = json_object('i', i, 'l', json_array(i, null, 1.5)), d = jsonb('{"a":[1,2]}') where i in (5, 6, 7); select r -> '$.l', r ->> '$.i', d ->> '$.a[1]', json_type(r) from w where i = 6
>>> [6,null,1.5]|6|2|object [6,null,1.5]|6|2|object [6,null,1.5]|6|2|object
--- JSON that is malformed
select json('{bad')
!!! malformed JSON (sqlite code 1)
--- aggregates whose order matters
select group_concat(x, '-'), string_agg(x, ';' order by x desc), json_group_array(x), sum(0.1), total(x), avg(x) from (select 3 as x union all select 1 union all select 2)
>>> 3-1-2|3;2;1|[3,1,2]|0.30000000000000004|6|2
--- text functions and patterns
select 'Ä' like 'ä', 'a_c' like 'a\_c' escape '\', 'abc' glob 'a[b-d]?', upper('straße'), substr('日本語', 2), instr('日本語', '語'), printf('%08.3f|%,d|%q', 3.14159, 1234567, 'it''s'), format('%s', null), unicode('€'), hex('é'), quote(x'00ff'), replace('aaa', 'a', 'bc'), soundex('Robert'), unhex('zz')
>>> 0|1|1|STRAßE|本語|3|0003.142|1,234,567|it''s||8364|C3A9|X'00FF'|bcbcbc|R163|null
--- collations
create table c(a collate nocase, b collate rtrim, c collate binary); insert into c values('A', 'x ', 'a'), ('a', 'x', 'A'), ('b', 'y', 'B'); select a = 'a', b = 'x', group_concat(c) over (order by c) from c order by a, b, c
>>> 1|1|A 1|1|A,B,a 0|0|A,B
--- a collation that is not there
select a from c order by a collate absent
!!! no such collation sequence: absent (sqlite code 257)
--- REGEXP has no function
select 'a' regexp 'b'
!!! no such function: regexp (sqlite code 1)
--- division by zero, overflow
select 1 / 0, 1 % 0, 9223372036854775807 + 1, -9223372036854775808 / -1, cast('9223372036854775808' as integer), cast(1e30 as integer)
>>> null|null|9.223372036854776e+18|9.223372036854776e+18|9223372036854775807|9223372036854775807
--- an overflow that is an error
select abs(-9223372036854775808)
!!! integer overflow (sqlite code 1)
--- and of sum()
select sum(a) from (select 9223372036854775807 as a union all select 1)
!!! integer overflow (sqlite code 1)
--- NULL logic
select null = null, null is null, null in (1, null), 1 in (1, null), 1 not in (2, null), coalesce(null, 0), nullif(1, 1), iif(null, 1, 2), null and 0, null or 1, not null
>>> null|1|null|1|null|0|null|2|0|1|null
--- row values, CASE, EXISTS, scalar subqueries
select (1, 2) < (1, 3), (1, 2) in (select 1, 2), case when exists (select 1 from b) then 'some' else 'none' end, (select max(v) from b where k > 'z')
>>> 1|1|some|null
--- LIMIT and OFFSET by expression
select x from (select 1 as x union all select 2 union all select 3 union all select 4) order by x desc limit 1 + 1 offset 3 - 2
>>> 3 2
--- INSERT DEFAULT VALUES, multi-row with expressions that refer to the table
create table n(id integer primary key, x default (1 + 1), t default 'z'); insert into n default values; insert into n(x) select count(*) from n union all select max(id) + 10 from n; select group_concat(x) from n
>>> 2,1,11
--- rowids of a table without INTEGER PRIMARY KEY go on after the largest
create table r(a); insert into r values(1), (2), (3); delete from r where a = 2; insert into r values(4); delete from r where a = 4; insert into r values(5); select group_concat(rowid || ':' || a) from r
>>> 1:1,3:3,4:5
--- given rowids, negative too
insert into r(rowid, a) values(-5, 'neg'), (100, 'hundred'); insert into r values('next'); select group_concat(rowid) from r
>>> -5,1,3,4,100,101
--- INSERT of a whole table (the transfer optimisation)
create table r2(a); insert into r2 select * from r; select group_concat(rowid) from r2
>>> 1,2,3,4,5,6
--- UPDATE of a primary key, in an order that conflicts meanwhile
create table o(i integer primary key); insert into o values(1), (2), (3); update o set i = i + 1 where i = 3; update o set i = -i; select group_concat(i) from o
>>> -4,-2,-1
--- which is an error if it does conflict
update o set i = i + 1
!!! UNIQUE constraint failed: o.i (sqlite code 1555)
--- parameters of every form
insert into r values(?), (?2), (:n), (@n), ($n) returning a
<<< 1, 'two', :n 3.5
>>> 1 two 3.5 3.5 3.5
--- parameters in several statements
insert into r values(?); update r set a = ? where a = ?; select ?
<<< 'p', 'q', 'p', x'00ff'
>>> x'00ff'
--- too few
insert into r2 select ? union select ?
<<< 1
!!! the statement expects 2 arguments and got 1: give one for each parameter
--- too many
insert into r values(?)
<<< 1, 2
!!! the statement expects 1 argument and got 2: leave out what no parameter takes
--- a number in the wrong place
select 'x' from (select 1) limit 'a'
!!! datatype mismatch (sqlite code 20)
--- blobs
insert into r values(zeroblob(3)), (x''), (cast('é' as blob)) returning typeof(a), length(a), hex(a)
>>> blob|3|000000 blob|0| blob|2|C3A9
--- large values
insert into r values(printf('%.*c', 100000, 'x')), (zeroblob(70000)); select sum(length(a)) from r where length(a) > 60000
>>> 170000
--- EXPLAIN
explain query plan select * from a where y = 'b'
>>> 2|0|216|SCAN a
--- comments, and semicolons in strings
/* a; b */ insert into r values('a;b'); -- the end; really
select a from r where a = 'a;b';;
>>> a;b
--- an empty entry
 ; -- nothing
--- an error in the last of three statements
insert into r values('one'); insert into r values('two'); insert into r values('three', 'four')
!!! table r has 1 columns but 2 values were supplied (sqlite code 1)
--- a syntax error
insert in to r
!!! near "in": syntax error (sqlite code 1)
--- an unfinished statement
insert into r values(
!!! incomplete input (sqlite code 1)
--- a table that is not there
select * from absent
!!! no such table: absent (sqlite code 1)
--- a column that is not there
select absent from r
!!! no such column: absent (sqlite code 1)
--- a function that is not there
select absent(1)
!!! no such function: absent (sqlite code 1)
--- the wrong number of arguments
select substr()
!!! wrong number of arguments to function substr() (sqlite code 1)
--- an ambiguous column
select rowid from r, r2
!!! ambiguous column name: rowid (sqlite code 1)
--- a constraint of each kind: UNIQUE
insert into n(id) values(1)
!!! UNIQUE constraint failed: n.id (sqlite code 1555)
--- NOT NULL
create table nn(a not null); insert into nn values(null)
!!! NOT NULL constraint failed: nn.a (sqlite code 1299)
--- CHECK with a name
create table ck(a constraint positive check (a > 0)); insert into ck values(-1)
!!! CHECK constraint failed: positive (sqlite code 275)
--- a mismatch
insert into n(id) values('not a number')
!!! datatype mismatch (sqlite code 20)
--- sqlite_schema
update sqlite_schema set sql = ''
!!! table sqlite_master may not be modified (sqlite code 1)
--- a reserved name
create table sqlite_mine(a)
!!! object name reserved for internal use: sqlite_mine (sqlite code 1)
--- a table twice
create table r(a)
!!! table r already exists (sqlite code 1)
--- UPDATE with LIMIT is not compiled in
update r set a = 1 limit 1
!!! near "limit": syntax error (sqlite code 1)
--- dropping an index of a constraint
drop index sqlite_autoindex_a_1
!!! index associated with UNIQUE or PRIMARY KEY constraint cannot be dropped (sqlite code 1)
--- a view over itself
create view loop as select * from loop; select * from loop
!!! view loop is circularly defined (sqlite code 1)
--- a cyclic CTE
with x as (select * from y), y as (select * from x) select * from x
!!! circular reference: x (sqlite code 1)
--- triggers do not recurse
create trigger r_again after insert on r when new.a < 10 begin insert into r values(new.a + 1); end; insert into r values(1); select count(*) from r where a in (1, 2, 3)
>>> 5
--- columns that a view names at random
create view many as select a, a, a, a, a, a, a from r limit 0; create table seven(a, b, c, d, e, f, g); insert into seven select * from many
!!! a column of many in a write whose name SQLite has made up is not supported: the name is random; give each column of the view its own by AS
--- and counts all the same
select count(*) from many
!!! no such table: many (sqlite code 1)
--- DELETE with LIMIT is not compiled in
delete from r where a = 1 limit 1
!!! near "limit": syntax error (sqlite code 1)
--- a sequence set by hand
create table numbered(id integer primary key autoincrement, v); insert into numbered(v) values('a'); update sqlite_sequence set seq = 500 where name = 'numbered'; insert into numbered(v) values('b') returning id
>>> 501
--- a sequence taken away
delete from sqlite_sequence where name = 'numbered'; insert into numbered(v) values('c') returning id
>>> 502
