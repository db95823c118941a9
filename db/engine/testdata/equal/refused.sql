=== What cannot be the same on every replica, or reaches out of the database, is refused and says what to do instead.
--- tables
create table t(a); insert into t values(1), (2); create table auto(id integer primary key autoincrement); analyze
--- another file
attach 'other.db' as other
!!! attach is not supported: a database here is one file replicated whole; put the tables into it, or connect to the other cluster
--- a file in memory
attach ':memory:' as m
!!! attach is not supported: a database here is one file replicated whole; put the tables into it, or connect to the other cluster
--- a bound file name
attach ? as x
!!! attach is not supported: a database here is one file replicated whole; put the tables into it, or connect to the other cluster
--- no file to detach
detach main
!!! detach is not supported: no other database can be attached
--- VACUUM
vacuum
!!! vacuum is not supported: it would renumber rowids on one node only; `pragma incremental_vacuum` frees pages on every node, and `rsqld backup` writes a copy
--- VACUUM behind a comment
/* c */ -- d
 VACUUM main
!!! vacuum is not supported: it would renumber rowids on one node only; `pragma incremental_vacuum` frees pages on every node, and `rsqld backup` writes a copy
--- VACUUM INTO
vacuum into 'copy.db'
!!! vacuum is not supported: it would renumber rowids on one node only; `pragma incremental_vacuum` frees pages on every node, and `rsqld backup` writes a copy
--- VACUUM in a script
insert into t values(3); vacuum
!!! vacuum is not supported: it would renumber rowids on one node only; `pragma incremental_vacuum` frees pages on every node, and `rsqld backup` writes a copy
--- a temporary table
create temp table x(a)
!!! temp is not supported: a temporary object would be lost at a restart and is on one node only; create an ordinary table and drop it, or use a CTE
--- by the name of its schema
create table temp.x(a)
!!! temp is not supported: a temporary object would be lost at a restart and is on one node only; create an ordinary table and drop it, or use a CTE
--- from a SELECT
create temporary table x as select 1
!!! temp is not supported: a temporary object would be lost at a restart and is on one node only; create an ordinary table and drop it, or use a CTE
--- a temporary view
create temp view x as select 1
!!! temp is not supported: a temporary object would be lost at a restart and is on one node only; create an ordinary table and drop it, or use a CTE
--- a temporary trigger
create temp trigger x after insert on t begin select 1; end
!!! temp is not supported: a temporary object would be lost at a restart and is on one node only; create an ordinary table and drop it, or use a CTE
--- a temporary index
create index temp.x on t(a)
!!! cannot create a TEMP index on non-TEMP table "t" (sqlite code 1)
--- a temporary virtual table
create virtual table temp.x using fts5(a)
!!! temp is not supported: a temporary object would be lost at a restart and is on one node only; create an ordinary table and drop it, or use a CTE
--- reading the temporary schema
select * from temp.sqlite_schema
!!! temp is not supported: a temporary object would be lost at a restart and is on one node only; create an ordinary table and drop it, or use a CTE
--- load_extension
select load_extension('x')
!!! load_extension is not supported: every node would need the same library; fts5, rtree, geopoly and json are built in
--- load_extension in a trigger
create trigger x after insert on t begin select load_extension('y', 'z'); end; insert into t values(1)
!!! load_extension is not supported: every node would need the same library; fts5, rtree, geopoly and json are built in
--- load_extension in a view
create view x as select load_extension('x'); select * from x
!!! unsafe use of load_extension() (sqlite code 1)
--- load_extension in a DEFAULT
create table x(a default (load_extension('x'))); insert into x default values
!!! load_extension is not supported: every node would need the same library; fts5, rtree, geopoly and json are built in
--- BEGIN
begin
!!! begin is not supported: it begins or ends a transaction of the session, and is sent alone; several statements in one atomic request are executed whole or not at all without it
--- BEGIN IMMEDIATE
begin immediate transaction
!!! begin is not supported: it begins or ends a transaction of the session, and is sent alone; several statements in one atomic request are executed whole or not at all without it
--- COMMIT
commit
!!! commit is not supported: it begins or ends a transaction of the session, and is sent alone; several statements in one atomic request are executed whole or not at all without it
--- ROLLBACK
rollback
!!! rollback is not supported: it begins or ends a transaction of the session, and is sent alone; several statements in one atomic request are executed whole or not at all without it
--- SAVEPOINT
savepoint x
!!! savepoint is not supported: there is no transaction here that could go back to it; begin one first
--- RELEASE
release x
!!! savepoint is not supported: there is no transaction here that could go back to it; begin one first
--- ROLLBACK TO
rollback to x
!!! savepoint is not supported: there is no transaction here that could go back to it; begin one first
--- the engine's own savepoint
release _rsqld_entry
!!! savepoint is not supported: there is no transaction here that could go back to it; begin one first
--- a module that is not on the list
create virtual table x using dbstat
!!! the virtual table module "dbstat" is not supported: its content is not the same on every replica; fts5, rtree and geopoly are
--- fts5vocab, whose rows are not stored
create virtual table x using fts5vocab(t, row)
!!! the virtual table module "fts5vocab" is not supported: its content is not the same on every replica; fts5, rtree and geopoly are
--- a module that is not there
create virtual table x using absent(a)
!!! the virtual table module "absent" is not supported: its content is not the same on every replica; fts5, rtree and geopoly are
--- bytecode
create virtual table x using bytecode
!!! the virtual table module "bytecode" is not supported: its content is not the same on every replica; fts5, rtree and geopoly are
--- pragma functions as a module
create virtual table x using pragma_table_info
!!! the virtual table module "pragma_table_info" is not supported: its content is not the same on every replica; fts5, rtree and geopoly are
--- CREATE TABLE AS with many equal names
create table x as select a, a, a, a, a, a from t
!!! create table as with more than four equal column names is not supported: SQLite would name them at random; give each its own name by AS
--- names like those of SQLite that somebody has chosen
create table chosen as select 1 as 'at:10', 2 as 'x:5'; drop table chosen
--- the same names made by a view
create view x as select a, a, a, a, a, a from t; create table y as select * from x
!!! a column of x in a write whose name SQLite has made up is not supported: the name is random; give each column of the view its own by AS
--- dbstat
insert into t select count(*) from dbstat
!!! access to dbstat is not supported: it is the pages of one node's file, secrets of rsqld among them; use `rsqld backup` for the file
--- dbstat in a read
select * from dbstat
!!! access to dbstat is not supported: it is the pages of one node's file, secrets of rsqld among them; use `rsqld backup` for the file
--- sqlite_dbpage
select data from sqlite_dbpage
!!! access to sqlite_dbpage is not supported: it is the pages of one node's file, secrets of rsqld among them; use `rsqld backup` for the file
--- writing sqlite_dbpage
update sqlite_dbpage set data = null
!!! access to sqlite_dbpage is not supported: it is the pages of one node's file, secrets of rsqld among them; use `rsqld backup` for the file
--- a PRAGMA as a table in a write
insert into t select name from pragma_table_info('t')
!!! reading pragma_table_info in a write is not supported: what it shows may differ between nodes; read it first and write the values
--- the list of databases in a write
insert into t select file from pragma_database_list
!!! reading pragma_database_list in a write is not supported: what it shows may differ between nodes; read it first and write the values
--- the compile options in a write
insert into t select compile_options from pragma_compile_options
!!! reading pragma_compile_options in a write is not supported: what it shows may differ between nodes; read it first and write the values
--- sqlite_offset
insert into t select sqlite_offset(a) from t
!!! the function sqlite_offset in a write is not supported: its value may differ between nodes; read it first and write the value
--- sqlite_version
insert into t values(sqlite_version())
!!! the function sqlite_version in a write is not supported: its value may differ between nodes; read it first and write the value
--- sqlite_source_id
insert into t values(sqlite_source_id())
!!! the function sqlite_source_id in a write is not supported: its value may differ between nodes; read it first and write the value
--- sqlite_compileoption_get
update t set a = sqlite_compileoption_get(1)
!!! the function sqlite_compileoption_get in a write is not supported: its value may differ between nodes; read it first and write the value
--- sqlite_compileoption_used
delete from t where sqlite_compileoption_used('X')
!!! the function sqlite_compileoption_used in a write is not supported: its value may differ between nodes; read it first and write the value
--- fts5_locale
insert into t values(fts5_locale('en', 'x'))
!!! the function fts5_locale in a write is not supported: its value may differ between nodes; read it first and write the value
--- fts5_source_id
insert into t values(fts5_source_id())
!!! the function fts5_source_id in a write is not supported: its value may differ between nodes; read it first and write the value
--- such a function in a DEFAULT
create table x(a default (sqlite_source_id()), b); insert into x(b) values(1)
!!! the function sqlite_source_id in a write is not supported: its value may differ between nodes; read it first and write the value
--- in a trigger
create trigger x after insert on t begin update t set a = sqlite_version(); end; insert into t values(1)
!!! the function sqlite_version in a write is not supported: its value may differ between nodes; read it first and write the value
--- in a view that a write reads
create view x as select sqlite_version() as v; insert into t select v from x
!!! the function sqlite_version in a write is not supported: its value may differ between nodes; read it first and write the value
--- an internal table read
select * from _rsqld_tokens
!!! access to _rsqld_* is not supported: names that begin with _rsqld belong to rsqld itself; choose another name
--- in a subquery of a write
insert into t select key from _rsqld_tokens
!!! access to _rsqld_* is not supported: names that begin with _rsqld belong to rsqld itself; choose another name
--- in any case
select 1 from t where a in (select key from _RSQLD_Tokens)
!!! access to _rsqld_* is not supported: names that begin with _rsqld belong to rsqld itself; choose another name
--- written
update _rsqld_meta set applied_index = 99
!!! access to _rsqld_* is not supported: names that begin with _rsqld belong to rsqld itself; choose another name
--- deleted from
delete from "_rsqld_members"
!!! access to _rsqld_* is not supported: names that begin with _rsqld belong to rsqld itself; choose another name
--- dropped
drop table _rsqld_meta
!!! access to _rsqld_* is not supported: names that begin with _rsqld belong to rsqld itself; choose another name
--- altered
alter table _rsqld_meta add column x
!!! access to _rsqld_* is not supported: names that begin with _rsqld belong to rsqld itself; choose another name
--- indexed
create index x on _rsqld_meta(format)
!!! access to _rsqld_* is not supported: names that begin with _rsqld belong to rsqld itself; choose another name
--- with a trigger
create trigger x after update on _rsqld_meta begin select 1; end
!!! access to _rsqld_* is not supported: names that begin with _rsqld belong to rsqld itself; choose another name
--- through a view
create view x as select * from _rsqld_settings; select * from x
!!! access to _rsqld_* is not supported: names that begin with _rsqld belong to rsqld itself; choose another name
--- as a parent
create table x(a references _rsqld_meta); insert into x values(1)
!!! access to _rsqld_* is not supported: names that begin with _rsqld belong to rsqld itself; choose another name
--- through a trigger
create trigger x after insert on t begin delete from _rsqld_tokens; end; insert into t values(1)
!!! access to _rsqld_* is not supported: names that begin with _rsqld belong to rsqld itself; choose another name
--- a name of the engine for a table
create table _rsqld_mine(a)
!!! access to _rsqld_* is not supported: names that begin with _rsqld belong to rsqld itself; choose another name
--- for a virtual table
create virtual table _rsqld_ft using fts5(a)
!!! access to _rsqld_* is not supported: names that begin with _rsqld belong to rsqld itself; choose another name
--- for an index
create index _rsqld_index on t(a)
!!! access to _rsqld_* is not supported: names that begin with _rsqld belong to rsqld itself; choose another name
--- for a view
create view _rsqld_view as select 1
!!! access to _rsqld_* is not supported: names that begin with _rsqld belong to rsqld itself; choose another name
--- for a trigger
create trigger _rsqld_trigger after insert on t begin select 1; end
!!! access to _rsqld_* is not supported: names that begin with _rsqld belong to rsqld itself; choose another name
--- by renaming
alter table t rename to _rsqld_t
!!! the name _rsqld_t is not supported: names that begin with _rsqld belong to rsqld itself; choose another name
--- in another case
alter table t rename to _RSQLD_t
!!! the name _RSQLD_t is not supported: names that begin with _rsqld belong to rsqld itself; choose another name
--- asked for by a PRAGMA
pragma table_info(_rsqld_meta)
!!! pragma table_info on _rsqld_meta is not supported: names that begin with _rsqld belong to rsqld itself
--- sqlite_sequence in a trigger
create trigger x after insert on t begin update sqlite_sequence set seq = 5; end; insert into t values(1)
!!! writing sqlite_sequence in a trigger is not supported: write it by a statement of its own
--- the largest rowid
insert into t(rowid, a) values(9223372036854775807, 1)
!!! table "t" may not hold the rowid 9223372036854775807: the rowid after it would be random; use a smaller one
--- by an update
update t set rowid = 9223372036854775807 where a = 1
!!! table "t" may not hold the rowid 9223372036854775807: the rowid after it would be random; use a smaller one
--- in an FTS5 table
create virtual table f using fts5(x); insert into f(rowid, x) values(9223372036854775807, 'y')
!!! table "f_content" may not hold the rowid 9223372036854775807: the rowid after it would be random; use a smaller one
--- in an FTS5 table without content
create virtual table f using fts5(x, content=''); insert into f(rowid, x) values(9223372036854775807, 'y')
!!! table "f_docsize" may not hold the rowid 9223372036854775807: the rowid after it would be random; use a smaller one
--- in an R-tree
create virtual table f using rtree(id, a, b); insert into f values(9223372036854775807, 1, 2)
!!! table "f_rowid" may not hold the rowid 9223372036854775807: the rowid after it would be random; use a smaller one
--- as an INTEGER PRIMARY KEY by UPSERT
create table x(i integer primary key, v); insert into x values(1, 1) on conflict(i) do nothing; insert into x values(1, 1) on conflict(i) do update set i = 9223372036854775807
!!! table "x" may not hold the rowid 9223372036854775807: the rowid after it would be random; use a smaller one
--- but not as a value of another column
insert into t values(9223372036854775807); delete from t where a > 9e18; select changes()
>>> 1
--- and not in a table WITHOUT ROWID
create table wr(i integer primary key) without rowid; insert into wr values(9223372036854775807); select count(*) from wr
>>> 1
--- and AUTOINCREMENT ends by itself
insert into auto values(9223372036854775806); insert into auto default values
!!! table "auto" may not hold the rowid 9223372036854775807: the rowid after it would be random; use a smaller one
--- a NUL byte cannot be written here, but char(0) can
insert into t values('a' || char(0) || 'b') returning length(a), hex(a)
>>> 1|610062
--- EXPLAIN of what is refused
explain attach 'x' as y
!!! attach is not supported: a database here is one file replicated whole; put the tables into it, or connect to the other cluster
--- EXPLAIN of an internal table
explain query plan select * from _rsqld_tokens
!!! access to _rsqld_* is not supported: names that begin with _rsqld belong to rsqld itself; choose another name
--- what is left
select group_concat(name) from sqlite_schema where name not like '\_rsqld%' escape '\' and name not like 'sqlite_autoindex%'
>>> t,auto,sqlite_sequence,sqlite_stat1,sqlite_stat4,wr
--- writing the engine's own tables
insert into _rsqld_settings values('sql.max_rows', '1')
!!! access to _rsqld_* is not supported: names that begin with _rsqld belong to rsqld itself; choose another name
--- in a CTE before it
with x as (select 1) insert into _RSQLD_meta select 1 from x
!!! access to _rsqld_* is not supported: names that begin with _rsqld belong to rsqld itself; choose another name
--- statistics by UPDATE
update sqlite_stat1 set stat = '1 1'
!!! writing sqlite_stat* is not supported: the query planner keeps the statistics in memory too; run ANALYZE, which is replicated
--- a module that shows the pages of the file
create virtual table p using sqlite_dbpage
!!! the virtual table module "sqlite_dbpage" is not supported: its content is not the same on every replica; fts5, rtree and geopoly are
--- a module that nobody knows
create virtual table p using nosuch(a)
!!! the virtual table module "nosuch" is not supported: its content is not the same on every replica; fts5, rtree and geopoly are
