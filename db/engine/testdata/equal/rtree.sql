=== R-tree and geopoly.
--- tables
create virtual table rt using rtree(id, x0, x1, y0, y1, +note); create virtual table ri using rtree_i32(id, a, b); create virtual table gp using geopoly(name); create table t(a, b)
--- rows that chance makes
insert into rt with recursive n(i) as (select 1 union all select i + 1 from n where i < 300) select i, abs(random() % 1000) / 10.0, 100 + i, 0.1 * i, 50 + i, 'n' || i from n
--- a search without ORDER BY
insert into t select id, note from rt where x0 < 20 and y1 > 60 limit 7; select group_concat(a) from t
>>> 11,16,17,34,44,65,70
--- coordinates are rounded to 32 bits, outwards
insert into rt values(9001, 0.1, 0.2, 0.3, 0.7, 'r'); select x0, x1, y0, y1 from rt where id = 9001
>>> 0.09999999403953552|0.20000000298023224|0.29999998211860657|0.7000000476837158
--- integers
insert into ri values(1, 5, 9), (2, -3, 4), (null, 1.9, 2.9); select id, a, b from ri
>>> 1|5|9 2|-3|4 3|1|2
--- bounds in the wrong order
insert into ri values(7, 9, 5)
!!! rtree constraint failed: ri.(a<=b) (sqlite code 19)
--- a key that is there
insert into rt values(1, 0, 1, 0, 1, 'again')
!!! UNIQUE constraint failed: rt.id (sqlite code 19)
--- REPLACE
insert or replace into rt values(1, 0, 1, 0, 1, 'replaced'); select note from rt where id = 1
>>> replaced
--- update and delete
update rt set x1 = x1 + 1, note = note || '!' where id % 10 = 0; delete from rt where id % 3 = 0; select count(*), sum(x1) from rt
>>> 201|49920.20000000298
--- a polygon
insert into gp(_shape, name) values('[[0,0],[1,0],[0.5,1],[0,0]]', 'triangle'), (geopoly_regular(10, 10, 3, 7), 'seven'); select name, round(geopoly_area(_shape), 6) from gp
>>> triangle|0.5 seven|24.62808
--- overlap and JSON
select name, geopoly_json(_shape) from gp where geopoly_overlap(_shape, '[[0,0],[2,0],[2,2],[0,2],[0,0]]')
>>> triangle|[[0.0,0.0],[1.0,0.0],[0.5,1.0],[0.0,0.0]]
--- reading while writing itself
insert into rt select id + 5000, x0, x1, y0, y1, note from rt
--- its check
select rtreecheck('rt'), rtreecheck('ri')
>>> ok|ok
--- node functions
select rtreedepth(data) from rt_node where nodeno = 1
>>> 1
--- the wrong number of columns
create virtual table bad using rtree(id, x0)
!!! Too few columns for an rtree table (sqlite code 1)
--- shadow tables
delete from rt_node
!!! table rt_node may not be modified (sqlite code 1)
--- dropped
drop table rt; drop table ri; drop table gp; select count(*) from sqlite_schema where name like 'r%' or name like 'gp%'
>>> 0
