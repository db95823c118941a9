=== The plan of a query without ORDER BY decides which rows LIMIT leaves; plans depend on the schema and the statistics in memory.
--- tables
create table s(id integer primary key, a, b, c); create table chosen(what, id);
insert into s with recursive n(i) as (select 1 union all select i + 1 from n where i < 3000) select i, case when i > 2990 or i % 400 = 1 then 1 else i end, i % 2, i * 7919 % 3001 from n;
create index s_a on s(a, id desc); create index s_b on s(b)
--- a choice without statistics
insert into chosen select 'none', id from s where a = 1 and b = 1 limit 5; select group_concat(id) from chosen where what = 'none'
>>> 1,401,801,1201,1601
--- ANALYZE that is rolled back
analyze; insert into absent values(1)
!!! no such table: absent (sqlite code 1)
--- the choice after it
insert into chosen select 'rolled back', id from s where a = 1 and b = 1 limit 5; select group_concat(id) from chosen where what = 'rolled back'
>>> 1,401,801,1201,1601
--- ANALYZE
analyze
--- the choice after it
insert into chosen select 'analyzed', id from s where a = 1 and b = 1 limit 5; select group_concat(id) from chosen where what = 'analyzed'
>>> 2999,2997,2995,2993,2991
--- ANALYZE of one table, and of one index
analyze s; analyze main.s_a
--- the statistics name no internal table
select count(*), sum(tbl like '\_rsqld%' escape '\') from sqlite_stat1
>>> 3|0
--- nor do the samples
select count(*) > 10, sum(tbl like '\_rsqld%' escape '\') from sqlite_stat4
>>> 1|0
--- writing statistics
delete from sqlite_stat1
!!! writing sqlite_stat* is not supported: the query planner keeps the statistics in memory too; run ANALYZE, which is replicated
--- in other forms
update main.sqlite_stat4 set sample = null
!!! writing sqlite_stat* is not supported: the query planner keeps the statistics in memory too; run ANALYZE, which is replicated
--- and more
insert into sqlite_stat1 values('s', 's_a', '3000 1')
!!! writing sqlite_stat* is not supported: the query planner keeps the statistics in memory too; run ANALYZE, which is replicated
--- and dropping them
drop table sqlite_stat1
!!! writing sqlite_stat* is not supported: the query planner keeps the statistics in memory too; run ANALYZE, which is replicated
--- nor may a trigger write them
create trigger sneaky after insert on chosen begin delete from sqlite_stat1; end; insert into chosen values('x', 1)
!!! writing sqlite_stat* is not supported: the query planner keeps the statistics in memory too; run ANALYZE, which is replicated
--- an index that is dropped takes its statistics along
drop index s_b
--- the choice after it
insert into chosen select 'dropped', id from s where a = 1 and b = 1 limit 5; select group_concat(id) from chosen where what = 'dropped'
>>> 2999,2997,2995,2993,2991
--- and made again without
create index s_b on s(b)
--- the choice after it
insert into chosen select 'made again', id from s where a = 1 and b = 1 limit 5; select group_concat(id) from chosen where what = 'made again'
>>> 1,401,801,1201,1601
--- an index made and rolled back
create index s_c on s(c, a); insert into absent values(1)
!!! no such table: absent (sqlite code 1)
--- the choice after it
insert into chosen select 'no s_c', id from s where c between 5 and 900 and a > 3 limit 5; select group_concat(id) from chosen where what = 'no s_c'
>>> 5,8,11,16,19
--- an index by descending order, an expression and a condition
create index s_d on s(c desc) where b = 1; create index s_e on s(a % 10); insert into chosen select 'expression', id from s where a % 10 = 3 limit 4; select group_concat(id) from chosen where what = 'expression'
>>> 3,13,23,33
--- a table renamed keeps its statistics
alter table s rename to s2; insert into chosen select 'renamed', id from s2 where a = 1 and b = 1 limit 5; select group_concat(id) from chosen where what = 'renamed'
>>> 1,401,801,1201,1601
--- ANALYZE and a choice in one entry
analyze; insert into chosen select 'same entry', id from s2 where a = 1 and b = 1 limit 5; select group_concat(id) from chosen where what = 'same entry'
>>> 2999,2997,2995,2993,2991
--- REINDEX
reindex; reindex s2; reindex s_a; reindex nocase
--- PRAGMA optimize
pragma optimize
!!! pragma optimize is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- and its dry run
pragma optimize(-1)
!!! pragma optimize is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- the limit of ANALYZE is pinned
pragma analysis_limit=100
!!! pragma analysis_limit is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- ORDER BY with ties
insert into chosen select 'ties', id from (select id from s2 order by b limit 7); select group_concat(id) from chosen where what = 'ties'
>>> 2,4,6,8,10,12,14
--- DISTINCT, GROUP BY and UNION without ORDER BY
insert into chosen select 'distinct', x from (select distinct c % 7 as x from s2 union select a % 5 from s2 limit 9); select group_concat(id) from chosen where what = 'distinct'
>>> 0,1,2,3,4,5,6
--- an automatic index
insert into chosen select 'join', x.id from s2 x, (select id, c % 50 as m from s2 where id < 500) y where x.b = 1 and y.m = x.c % 50 and x.id < 300 limit 6; select group_concat(id) from chosen where what = 'join'
>>> 1,1,1,1,1,1
--- DELETE and UPDATE of rows that a plan chose
delete from s2 where id in (select id from s2 where a = 1 limit 2); update s2 set b = 9 where id in (select id from s2 where b = 0 limit 3); select count(*), sum(id) from s2 where b <> 9
>>> 2995|4495489
