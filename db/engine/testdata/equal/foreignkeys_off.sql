=== setting sql.foreign_keys off
=== setting sql.recursive_triggers on
--- without foreign keys nothing is checked
create table p(id integer primary key); create table c(p references p deferrable initially deferred); insert into c values(1), (2); select count(*) from c
>>> 2
--- the PRAGMA that equals the setting
pragma foreign_keys=off; pragma foreign_keys
>>> 0
--- and the one that does not
pragma foreign_keys=on
!!! pragma foreign_keys=on is not supported: foreign keys are off for the whole cluster (setting sql.foreign_keys, which `rsqld set` changes)
--- the check still tells
pragma foreign_key_check
>>> c|1|p|0 c|2|p|0
--- recursive triggers
create table r(n); create trigger r_again after insert on r when new.n < 5 begin insert into r values(new.n + 1); end; insert into r values(1); select group_concat(n) from r
>>> 1,2,3,4,5
--- a trigger of REPLACE on the deleted row
create table k(id integer primary key, v); create table log(x); create trigger k_gone after delete on k begin insert into log values(old.v); end;
insert into k values(1, 'a'); replace into k values(1, 'b'); select group_concat(x) from log
>>> a
--- a trigger that never ends is ended
create trigger r_endless after insert on r begin insert into r values(new.n + 1); end; insert into r values(1)
!!! triggers nested too deep (sqlite code 1)
