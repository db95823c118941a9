=== What ends the transaction of a batch undoes its own entry and no other.
--- tables
create table u(k integer primary key, v unique); create table w(k unique on conflict rollback); create table n(a not null on conflict rollback, b check (b > 0));
create table log(v); create table auto(id integer primary key autoincrement, v);
insert into u values(1, 'a'); insert into w values(1); insert into auto values(1, 0)
--- an innocent entry before
insert into log values('before 1')
--- INSERT OR ROLLBACK
insert into log values('undone'); insert or rollback into u values(1, 'b')
!!! UNIQUE constraint failed: u.k (sqlite code 1555)
--- an innocent one after it
insert into log values('after 1')
--- UPDATE OR ROLLBACK
insert into u values(2, 'b'); update or rollback u set v = 'a' where k = 2
!!! UNIQUE constraint failed: u.v (sqlite code 2067)
--- UNIQUE ON CONFLICT ROLLBACK in the schema
insert into w values(2); insert into w values(2)
!!! UNIQUE constraint failed: w.k (sqlite code 2067)
--- NOT NULL ON CONFLICT ROLLBACK in the schema
insert into n values(null, 1)
!!! NOT NULL constraint failed: n.a (sqlite code 1299)
--- OR IGNORE overrides the schema
insert or ignore into w values(1); insert or ignore into n values(null, 1); select changes()
>>> 0
--- OR ABORT and OR FAIL do not end the transaction: the entry is undone all the same
insert into log values('undone'); insert or fail into u values(3, 'c'), (1, 'd')
!!! UNIQUE constraint failed: u.k (sqlite code 1555)
--- OR REPLACE
insert or replace into u values(9, 'a'); select group_concat(k || v) from u
>>> 9a
--- a trigger that raises ROLLBACK
create trigger no_seven before insert on log when new.v = '7' begin insert into w values(70); select raise(rollback, 'seven is out'); end
--- struck
insert into log values('6'), ('7'), ('8')
!!! seven is out (sqlite code 1811)
--- a trigger that raises ABORT
create trigger no_nine before insert on log when new.v = '9' begin select raise(abort, 'nine is out'); end;
insert into log values('6'), ('9')
!!! nine is out (sqlite code 1811)
--- the trigger was not made, because its entry failed
insert into log values('9')
--- a trigger that raises FAIL, and one that raises IGNORE
create trigger no_ten before insert on log when new.v = '10' begin select raise(fail, 'ten is out'); end;
create trigger no_eleven before insert on log when new.v = '11' begin select raise(ignore); end;
insert into log values('11'), ('12')
--- the FAIL undoes its entry
insert into log values('13'), ('10')
!!! ten is out (sqlite code 1811)
--- RAISE with a computed message
create trigger no_long after insert on log when length(new.v) > 20 begin select raise(rollback, 'too long: ' || length(new.v)); end
--- struck with it
insert into log values('a text of more than twenty letters')
!!! too long: 34 (sqlite code 1811)
--- an FTS5 table that a killer undoes
create virtual table f using fts5(a); insert into f values('x'); insert or rollback into u values(1, 'z'), (9, 'y')
!!! UNIQUE constraint failed: u.k (sqlite code 1555)
--- can be made again
create virtual table f using fts5(a); insert into f values('hello')
--- a killer behind a change of FTS5 that is not written yet
insert into f values('world'); insert or rollback into w values(1)
!!! UNIQUE constraint failed: w.k (sqlite code 2067)
--- a failing entry in which a virtual table was made
create virtual table f2 using fts5(a); insert into f2 values(1); insert into absent values(1)
!!! no such table: absent (sqlite code 1)
--- a failing entry in which one was dropped
drop table f; insert into absent values(1)
!!! no such table: absent (sqlite code 1)
--- it is there
insert into f values('again'); select count(*) from f where f match 'hello OR again'
>>> 2
--- a full sequence
update sqlite_sequence set seq = 9223372036854775807 where name = 'auto'; insert into auto(v) values(1)
!!! database or disk is full (sqlite code 13)
--- a full sequence that ends the transaction
update sqlite_sequence set seq = 9223372036854775807 where name = 'auto'; insert or rollback into auto(v) values(1), (2)
!!! database or disk is full (sqlite code 13)
--- the sequence is where it was
insert into auto(v) values('next') returning id
>>> 2
--- the schema that a killer undoes
create table gone(a); create index gone_a on gone(a); insert or rollback into u values(9, 'q'), (9, 'r')
!!! UNIQUE constraint failed: u.k (sqlite code 1555)
--- is gone
select count(*) from sqlite_schema where name like 'gone%'
>>> 0
--- a killer in the second of two texts: statistics are undone
analyze; insert or rollback into w values(1)
!!! UNIQUE constraint failed: w.k (sqlite code 2067)
--- as this shows
select count(*) from sqlite_schema where name = 'sqlite_stat1'
>>> 0
--- COMMIT in an entry
insert into log values('x'); commit
!!! commit is not supported: it begins or ends a transaction of the session, and is sent alone; several statements in one atomic request are executed whole or not at all without it
--- ROLLBACK in an entry
insert into log values('x'); rollback
!!! rollback is not supported: it begins or ends a transaction of the session, and is sent alone; several statements in one atomic request are executed whole or not at all without it
--- END in an entry
end transaction
!!! commit is not supported: it begins or ends a transaction of the session, and is sent alone; several statements in one atomic request are executed whole or not at all without it
--- what is left
select group_concat(v) from log
>>> before 1,after 1,9,12
