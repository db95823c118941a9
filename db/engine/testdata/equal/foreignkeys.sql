=== Foreign keys are checked at the end of each entry, not of the batch.
--- tables
create table p(id integer primary key, u unique);
create table now_(p references p);
create table later(p references p deferrable initially deferred, note);
create table chain(id integer primary key, up references chain on delete cascade on update cascade deferrable initially deferred);
create table nulls(p references p on delete set null); create table defaults(p default 1 references p on delete set default); create table restricts(p references p on delete restrict);
insert into p values(1, 10), (2, 20), (3, 30)
--- an immediate violation
insert into now_ values(99)
!!! FOREIGN KEY constraint failed (sqlite code 787)
--- a deferred violation at the end of its entry
insert into later values(77, 'violates')
!!! FOREIGN KEY constraint failed (sqlite code 787)
--- an innocent entry after it
insert into later values(1, 'fine')
--- a deferred violation that the same entry mends
insert into later values(50, 'mended'); insert into p values(50, 500)
--- a deferred violation that only a later entry would mend
insert into later values(51, 'too early')
!!! FOREIGN KEY constraint failed (sqlite code 787)
--- which is too late
insert into p values(51, 510); select count(*) from later
>>> 2
--- defer_foreign_keys holds within the entry
pragma defer_foreign_keys=1; insert into now_ values(60); insert into p values(60, 600)
--- and not in the next one
insert into now_ values(61); insert into p values(61, 610)
!!! FOREIGN KEY constraint failed (sqlite code 787)
--- defer_foreign_keys with a violation left
pragma defer_foreign_keys=on; insert into now_ values(62)
!!! FOREIGN KEY constraint failed (sqlite code 787)
--- after an entry that failed otherwise
pragma defer_foreign_keys=true; insert into now_ values(63); insert into absent values(1)
!!! no such table: absent (sqlite code 1)
--- it does not hold either
insert into now_ values(63); insert into p values(63, 630)
!!! FOREIGN KEY constraint failed (sqlite code 787)
--- what it says
pragma defer_foreign_keys
>>> 0
--- turning it off would hide violations
pragma defer_foreign_keys=0
!!! pragma defer_foreign_keys=0 is not supported: it would let violated foreign keys be committed; it ends by itself with the request
--- and in other words
pragma defer_foreign_keys(off)
!!! pragma defer_foreign_keys=off is not supported: it would let violated foreign keys be committed; it ends by itself with the request
--- a cascade
insert into chain values(1, null), (2, 1), (3, 2), (4, 3); delete from chain where id = 2; select count(*), total_changes() from chain
>>> 1|7
--- a cascade of an update
insert into chain values(10, null), (11, 10), (12, 10); update chain set id = 20 where id = 10; select group_concat(up) from chain
>>> 20,20
--- a cycle, deferred
insert into chain values(30, 31), (31, 30); select count(*) from chain
>>> 6
--- SET NULL, SET DEFAULT
insert into nulls values(2); insert into defaults values(2); delete from p where id = 2; select nulls.p, defaults.p from nulls, defaults
>>> null|1
--- RESTRICT waits as well when all foreign keys are deferred
insert into restricts values(3); pragma defer_foreign_keys=1; delete from p where id = 3; insert into p values(3, 30)
--- and is immediate otherwise
delete from p where id = 3; insert into p values(3, 30)
!!! FOREIGN KEY constraint failed (sqlite code 1811)
--- a killer with deferred violations before it
insert into later values(78, 'x'); insert or rollback into p values(1, 1)
!!! UNIQUE constraint failed: p.id (sqlite code 1555)
--- dropping a parent
drop table p
!!! FOREIGN KEY constraint failed (sqlite code 1811)
--- the PRAGMA that equals the setting
pragma foreign_keys=on; pragma foreign_keys = 1; pragma foreign_keys(yes)
--- and the one that does not
pragma foreign_keys=off
!!! pragma foreign_keys=off is not supported: foreign keys are on for the whole cluster (setting sql.foreign_keys, which `rsqld set` changes)
--- and one that means nothing
pragma foreign_keys=2
!!! pragma foreign_keys=2 is not supported: foreign keys are on for the whole cluster (setting sql.foreign_keys, which `rsqld set` changes)
--- what it says
pragma foreign_keys
>>> 1
--- the list and the check may be read
pragma foreign_key_list(later)
>>> 0|0|p|p|null|NO ACTION|NO ACTION|NONE
--- nothing is violated
pragma foreign_key_check
>>>
