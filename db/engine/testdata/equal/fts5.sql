=== FTS5: its tables are ordinary ones that every replica writes alike.
--- tables
create virtual table ft using fts5(title, body, prefix='2 3'); create virtual table porter using fts5(body, tokenize='porter unicode61 remove_diacritics 2');
create virtual table tri using fts5(body, tokenize='trigram'); create table doc(id integer primary key, text); create virtual table ext using fts5(text, content='doc', content_rowid='id');
create virtual table slim using fts5(body, content='', contentless_delete=1); create table t(a, b, c)
--- rows
insert into ft values('one', 'the quick brown fox'), ('two', 'jumps over'), ('three', 'the lazy dog'); insert into porter values('running'), ('Café au lait'); insert into tri values('abcdefgh'); insert into slim(rowid, body) values(1, 'alpha'), (2, 'beta')
--- rows that chance makes
insert into ft(title, body) with recursive n(i) as (select 1 union all select i + 1 from n where i < 200) select 'word' || (random() % 50), 'word' || abs(random() % 500) || ' word' || (i % 13) from n
--- a match in a write
insert into t(a) select count(*) from ft where ft match 'word1*'; select a from t
>>> 104
--- in a trigger of an external content table
create trigger doc_in after insert on doc begin insert into ext(rowid, text) values(new.id, new.text); end;
create trigger doc_out after delete on doc begin insert into ext(ext, rowid, text) values('delete', old.id, old.text); end;
create trigger doc_new after update on doc begin insert into ext(ext, rowid, text) values('delete', old.id, old.text); insert into ext(rowid, text) values(new.id, new.text); end;
insert into doc values(1, 'hello world'), (2, 'goodbye world'); update doc set text = 'hello moon' where id = 1; delete from doc where id = 2; select rowid from ext where ext match 'hello'
>>> 1
--- ranking
select rowid, round(bm25(ft), 6), highlight(ft, 1, '[', ']'), snippet(ft, 1, '<', '>', '..', 3) from ft where ft match 'quick OR lazy' order by rank
>>> 3|-4.615607|the [lazy] dog|the <lazy> dog 1|-4.154476|the [quick] brown fox|the <quick> brown..
--- stemming and diacritics
select rowid from porter where porter match 'run OR cafe' order by rowid
>>> 1 2
--- trigrams and LIKE
select rowid from tri where body like '%cdef%'
>>> 1
--- update and delete
update ft set body = body || ' again' where rowid % 5 = 0; delete from ft where rowid % 7 = 0; select count(*) from ft where ft match 'again'
>>> 35
--- without content
delete from slim where rowid = 1; select rowid from slim where slim match 'alpha OR beta'
>>> 2
--- commands
insert into ft(ft) values('optimize'); insert into ft(ft, rank) values('merge', 50), ('automerge', 4), ('crisismerge', 8), ('usermerge', 4), ('pgsz', 200), ('rank', 'bm25(10.0)'); select count(*) from ft_data
>>> 4
--- its own check
insert into ft(ft) values('integrity-check'); insert into ext(ext, rank) values('integrity-check', 1)
--- rebuild
insert into ext(ext) values('rebuild'); insert into porter(porter) values('rebuild')
--- flush of what is gathered does not count in the next entry
insert into ft values('pending', 'pending words of this entry')
--- as this shows
insert into t values(last_insert_rowid(), changes(), total_changes()); select a, b, c from t order by rowid desc limit 1
>>> 0|0|0
--- an unknown command
insert into ft(ft) values('nonsense')
!!! SQL logic error (sqlite code 1)
--- a bad query
select * from ft where ft match '"unfinished'
!!! unterminated string (sqlite code 1)
--- a column that is not there
select * from ft where ft match 'nocolumn: x'
!!! no such column: nocolumn (sqlite code 1)
--- external content that disagrees is an error of the rows, not of the node
delete from ext where rowid = 1; insert into ext(ext, rowid, text) values('delete', 1, 'something else'); insert into doc values(9, 'nine'); insert into ext(ext, rank) values('integrity-check', 1)
!!! database disk image is malformed (sqlite code 267)
--- content whose row is missing
create virtual table e2 using fts5(text, content='doc', content_rowid='id'); insert into e2(rowid, text) values(99, 'ghost'); select * from e2 where e2 match 'ghost'
!!! fts5: missing row 99 from content table 'main'.'doc' (sqlite code 267)
--- shadow tables are not written directly
delete from ft_data
!!! table ft_data may not be modified (sqlite code 1)
--- nor dropped
drop table ft_content
!!! table ft_content may not be dropped (sqlite code 1)
--- a table made and filled in one entry, and one that fails
create virtual table extra using fts5(a); insert into extra values(random()); select count(*) from extra
>>> 1
--- the failing one
create virtual table extra2 using fts5(a); insert into extra2 values(random()); insert into extra2(nowhere) values(1)
!!! table extra2 has no column named nowhere (sqlite code 1)
--- renamed and dropped
alter table extra rename to extra3; drop table extra3; select count(*) from sqlite_schema where name like 'extra%'
>>> 0
--- a tokenizer that is not there
create virtual table bad using fts5(a, tokenize='absent')
!!! no such tokenizer: absent (sqlite code 1)
--- a rowid that is given, and one after it
insert into ft(rowid, title) values(1000000, 'far'); insert into ft(title) values('next'); select max(rowid) from ft
>>> 1000001
--- REPLACE
insert or replace into ft(rowid, title, body) values(1000000, 'far', 'replaced'); select body from ft where rowid = 1000000
>>> replaced
--- delete everything
delete from ft; select count(*) from ft; insert into slim(slim) values('delete-all')
--- dropped
drop table ft; drop table ext; select count(*) from sqlite_schema where name like 'ft%'
>>> 0
