=== Every PRAGMA of SQLite: those that read, those that are replicated, those that are refused.
--- a table
create table t(a integer primary key, b text collate nocase default 'x', c as (a + 1)); create index t_b on t(b); create table c(p references t)
--- replicated: user_version
pragma user_version=7; pragma user_version
>>> 7
--- replicated: application_id
pragma application_id(0x7273716c); pragma application_id
>>> 1920168300
--- rolled back with its entry
pragma user_version=8; insert into absent values(1)
!!! no such table: absent (sqlite code 1)
--- as this shows
pragma user_version
>>> 7
--- replicated: incremental_vacuum
create table big(a); insert into big select zeroblob(3000) from (with recursive n(i) as (select 1 union all select i + 1 from n where i < 50) select i from n); drop table big; pragma freelist_count
>>> 51
--- some pages
pragma incremental_vacuum(3)
--- here
pragma freelist_count
>>> 48
--- and all of them
pragma incremental_vacuum
--- here
pragma freelist_count
>>> 0
--- a read: table_info
pragma table_info(t)
>>> 0|a|INTEGER|0|null|1 1|b|TEXT|0|'x'|0
--- a read: table_xinfo
pragma table_xinfo(t)
>>> 0|a|INTEGER|0|null|1|0 1|b|TEXT|0|'x'|0|0 2|c||0|null|0|2
--- a read: table_list
pragma table_list(t)
>>> main|t|table|3|0|0
--- a read: index_list
pragma index_list(t)
>>> 0|t_b|0|c|0
--- a read: index_info
pragma index_info(t_b)
>>> 0|1|b
--- a read: index_xinfo
pragma index_xinfo(t_b)
>>> 0|1|b|0|nocase|1 1|-1|null|0|BINARY|0
--- a read: foreign_key_list
pragma foreign_key_list(c)
>>> 0|0|t|p|null|NO ACTION|NO ACTION|NONE
--- a read: foreign_key_check
pragma foreign_key_check(c)
>>>
--- a read: integrity_check
pragma integrity_check
>>> ok
--- a read: integrity_check
pragma integrity_check(t)
>>> ok
--- a read: quick_check
pragma quick_check
>>> ok
--- a read: collation_list
pragma collation_list
>>> 0|RTRIM 1|NOCASE 2|BINARY
--- a read: page_size
pragma page_size
>>> 4096
--- a read: data_version
pragma data_version
>>> 2
--- a read: encoding
pragma encoding
>>> UTF-8
--- a read: auto_vacuum
pragma auto_vacuum
>>> 2
--- a read: journal_mode
pragma journal_mode
>>> wal
--- a read: synchronous
pragma synchronous
>>> 1
--- a read: recursive_triggers
pragma recursive_triggers
>>> 0
--- a read: busy_timeout
pragma busy_timeout
>>> 5000
--- a read: query_only
pragma query_only
>>> 0
--- a read: foreign_keys=on
pragma foreign_keys=on
--- refused: analysis_limit
pragma analysis_limit=10
!!! pragma analysis_limit is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: automatic_index
pragma automatic_index=off
!!! pragma automatic_index is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: auto_vacuum
pragma auto_vacuum=full
!!! pragma auto_vacuum=full is not supported: rsqld sets auto_vacuum itself, alike on every node; leave the statement out, or read the value with `pragma auto_vacuum`
--- refused: busy_timeout
pragma busy_timeout=100
!!! pragma busy_timeout=100 is not supported: rsqld sets busy_timeout itself, alike on every node; leave the statement out, or read the value with `pragma busy_timeout`
--- refused: cache_size
pragma cache_size=5
!!! pragma cache_size is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: cache_spill
pragma cache_spill=off
!!! pragma cache_spill is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: case_sensitive_like
pragma case_sensitive_like=1
!!! pragma case_sensitive_like is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: cell_size_check
pragma cell_size_check=1
!!! pragma cell_size_check is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: checkpoint_fullfsync
pragma checkpoint_fullfsync=1
!!! pragma checkpoint_fullfsync is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: count_changes
pragma count_changes=1
!!! pragma count_changes is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: data_store_directory
pragma data_store_directory='x'
!!! pragma data_store_directory is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: default_cache_size
pragma default_cache_size=5
!!! pragma default_cache_size is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: empty_result_callbacks
pragma empty_result_callbacks=1
!!! pragma empty_result_callbacks is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: encoding
pragma encoding='utf-16'
!!! pragma encoding=utf-16 is not supported: rsqld sets encoding itself, alike on every node; leave the statement out, or read the value with `pragma encoding`
--- refused: full_column_names
pragma full_column_names=1
!!! pragma full_column_names is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: fullfsync
pragma fullfsync=1
!!! pragma fullfsync is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: hard_heap_limit
pragma hard_heap_limit=1
!!! pragma hard_heap_limit is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: hexkey
pragma hexkey='00'
!!! pragma hexkey is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: ignore_check_constraints
pragma ignore_check_constraints=1
!!! pragma ignore_check_constraints is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: journal_mode
pragma journal_mode=delete
!!! pragma journal_mode=delete is not supported: rsqld sets journal_mode itself, alike on every node; leave the statement out, or read the value with `pragma journal_mode`
--- refused: journal_size_limit
pragma journal_size_limit=1
!!! pragma journal_size_limit is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: key
pragma key='x'
!!! pragma key is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: legacy_alter_table
pragma legacy_alter_table=1
!!! pragma legacy_alter_table is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: legacy_file_format
pragma legacy_file_format=1
!!! pragma legacy_file_format is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: locking_mode
pragma locking_mode=exclusive
!!! pragma locking_mode is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: max_page_count
pragma max_page_count=5
!!! pragma max_page_count is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: mmap_size
pragma mmap_size=0
!!! pragma mmap_size is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: module_list
pragma module_list=1
!!! pragma module_list=1 is not supported: rsqld sets module_list itself, alike on every node; leave the statement out, or read the value with `pragma module_list`
--- refused: page_size
pragma page_size=1024
!!! pragma page_size=1024 is not supported: rsqld sets page_size itself, alike on every node; leave the statement out, or read the value with `pragma page_size`
--- refused: parser_trace
pragma parser_trace=1
!!! pragma parser_trace is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: query_only
pragma query_only=0
!!! pragma query_only=0 is not supported: rsqld sets query_only itself, alike on every node; leave the statement out, or read the value with `pragma query_only`
--- refused: read_uncommitted
pragma read_uncommitted=1
!!! pragma read_uncommitted is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: recursive_triggers
pragma recursive_triggers=1
!!! pragma recursive_triggers=1 is not supported: rsqld sets recursive_triggers itself, alike on every node; leave the statement out, or read the value with `pragma recursive_triggers`
--- refused: rekey
pragma rekey='x'
!!! pragma rekey is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: reverse_unordered_selects
pragma reverse_unordered_selects=1
!!! pragma reverse_unordered_selects is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: schema_version
pragma schema_version=1
!!! pragma schema_version=1 is not supported: rsqld sets schema_version itself, alike on every node; leave the statement out, or read the value with `pragma schema_version`
--- refused: secure_delete
pragma secure_delete=1
!!! pragma secure_delete is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: short_column_names
pragma short_column_names=1
!!! pragma short_column_names is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: shrink_memory
pragma shrink_memory
!!! pragma shrink_memory is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: soft_heap_limit
pragma soft_heap_limit=1
!!! pragma soft_heap_limit is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: stats
pragma stats
!!! pragma stats is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: synchronous
pragma synchronous=off
!!! pragma synchronous=off is not supported: rsqld sets synchronous itself, alike on every node; leave the statement out, or read the value with `pragma synchronous`
--- refused: temp_store
pragma temp_store=file
!!! pragma temp_store is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: temp_store_directory
pragma temp_store_directory='x'
!!! pragma temp_store_directory is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: threads
pragma threads=2
!!! pragma threads is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: trusted_schema
pragma trusted_schema=1
!!! pragma trusted_schema is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: wal_autocheckpoint
pragma wal_autocheckpoint=1
!!! pragma wal_autocheckpoint is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: wal_checkpoint
pragma wal_checkpoint
!!! pragma wal_checkpoint is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: wal_checkpoint(truncate)
pragma wal_checkpoint(truncate)
!!! pragma wal_checkpoint is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: writable_schema
pragma writable_schema=1
!!! pragma writable_schema is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: cache_size
pragma cache_size
!!! pragma cache_size is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: lock_status
pragma lock_status
!!! pragma lock_status is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: no_such_pragma
pragma no_such_pragma=1
!!! pragma no_such_pragma is not supported: it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out
--- refused: main.journal_mode
pragma main.journal_mode=off
!!! pragma journal_mode=off is not supported: rsqld sets journal_mode itself, alike on every node; leave the statement out, or read the value with `pragma journal_mode`
--- refused: temp.table_info(t)
pragma temp.table_info(t)
>>>
