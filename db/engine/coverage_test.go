package engine

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What comes of an entry of the corpus.
const (
	works   = "works"
	fails   = "fails"   // by an error of SQLite or a limit
	refuses = "refuses" // by the policy
)

// covered are the rules of determinism and of the policy: for each what an entry of the corpus must hold, and what comes
// of that entry. Several are patterns that each have an entry of their own.
var covered = map[string]struct {
	comes    string
	patterns []string
}{
	"the time, as a word":                   {works, []string{`insert.*current_timestamp`, `current_date`, `current_time\b`}},
	"the time, by function":                 {works, []string{`\bdate\('now`, `\btime\('now`, `datetime\('now`, `julianday\('now`, `unixepoch\(`, `strftime\('%`, `timediff\(`}},
	"the time in a DEFAULT":                 {works, []string{`create table.*default current_timestamp`, `default \(\w+\(.*now`}},
	"the time in a trigger":                 {works, []string{`create trigger.*'now'`}},
	"the time in a view":                    {works, []string{`create view.*'now'`}},
	"the time of day is UTC":                {works, []string{`'localtime'`, `'utc'`}},
	"the time in a generated column":        {fails, []string{`as \(date\('now`}},
	"the time in a partial index":           {fails, []string{`create index.*where.*'now'`}},
	"random numbers":                        {works, []string{`values\(.*random\(\)`, `randomblob\(`, `order by random\(\)`, `where .*random\(\)`, `default \(random\(\)\)`, `default \(.*randomblob`}},
	"random numbers in a trigger":           {works, []string{`create trigger[^;]*\brandom\(\)`}},
	"random numbers in a view":              {works, []string{`create view[^;]*\brandom\(\)`}},
	"random numbers in an upsert":           {works, []string{`on conflict.*do update.*random\(\)`}},
	"the past of the connection":            {works, []string{`last_insert_rowid\(\)`, `\bchanges\(\)`, `total_changes\(\)`}},
	"a killer by its conflict clause":       {fails, []string{`insert or rollback`, `update or rollback`}},
	"a killer by its table":                 {fails, []string{`insert into w values`, `insert into n`}},
	"a killer by a trigger":                 {works, []string{`raise\(rollback`}},
	"a full sequence":                       {fails, []string{`9223372036854775807[^;]*;[^;]*insert or rollback`}},
	"the largest rowid":                     {fails, []string{`insert into t\w*\((id|rowid).*9223372036854775807`, `using fts5.*rowid.*9223372036854775807`, `using rtree.*9223372036854775807`, `update .*9223372036854775807`}},
	"deferred foreign keys":                 {fails, []string{`defer_foreign_keys`, `insert into later`}},
	"deferred foreign keys that are mended": {works, []string{`pragma defer_foreign_keys ?= ?(1|on)`}},
	"unchecked foreign keys":                {refuses, []string{`pragma defer_foreign_keys ?= ?(0|off)`, `pragma foreign_keys ?= ?off`, `pragma ignore_check_constraints`}},
	"the switch that is set already":        {works, []string{`pragma foreign_keys ?= ?(on|1)`}},
	"statistics":                            {works, []string{`^analyze\b`, `analyze \w+`}},
	"statistics that are undone":            {fails, []string{`analyze; insert`}},
	"statistics by hand":                    {refuses, []string{`delete from sqlite_stat1`, `insert into sqlite_stat1`, `update sqlite_stat1`, `drop table sqlite_stat`}},
	"statistics by themselves":              {refuses, []string{`pragma optimize`}},
	"sequences by hand":                     {works, []string{`update sqlite_sequence`, `delete from sqlite_sequence`}},
	"other files":                           {refuses, []string{`^attach`, `^detach`, `vacuum into`, `^vacuum`}},
	"temporary objects":                     {refuses, []string{`create temp table`, `create temp view`, `create temp trigger`, `create table temp\.`, `create temporary table`, `temp\.sqlite_schema|sqlite_temp_schema|sqlite_temp_master`}},
	"transactions":                          {refuses, []string{`^begin`, `^commit`, `^end\b`, `^rollback`, `^savepoint`, `^release`, `^rollback to`, `(insert|update|delete)[^;]*;\s*commit`}},
	"code":                                  {refuses, []string{`load_extension\(`}},
	"pragmas that change what SQL means": {refuses, []string{`pragma case_sensitive_like`, `pragma reverse_unordered_selects`, `pragma recursive_triggers ?=`, `pragma count_changes`,
		`pragma legacy_alter_table`, `pragma automatic_index`, `pragma trusted_schema`, `pragma analysis_limit`, `pragma threads`, `pragma secure_delete`, `pragma full_column_names`, `pragma short_column_names`,
		`pragma empty_result_callbacks`, `pragma legacy_file_format`, `pragma cell_size_check`, `pragma checkpoint_fullfsync`, `pragma fullfsync`}},
	"pragmas of the file": {refuses, []string{`pragma encoding ?=`, `pragma page_size ?=`, `pragma auto_vacuum ?=`}},
	"pragmas of a node": {refuses, []string{`pragma journal_mode ?=`, `pragma locking_mode`, `pragma synchronous ?=`, `pragma wal_checkpoint`, `pragma wal_autocheckpoint`, `pragma mmap_size`,
		`pragma cache_size`, `pragma cache_spill`, `pragma temp_store\b`, `pragma temp_store_directory`, `pragma data_store_directory`, `pragma busy_timeout ?(=|\()`, `pragma max_page_count`, `pragma soft_heap_limit`, `pragma hard_heap_limit`, `pragma journal_size_limit`,
		`pragma writable_schema`, `pragma schema_version ?=`, `pragma shrink_memory`, `pragma query_only ?=`, `pragma read_uncommitted`, `pragma default_cache_size`, `pragma lock_status|pragma stats`}},
	"pragmas that are replicated": {works, []string{`pragma user_version ?=`, `pragma application_id ?(=|\()`, `pragma incremental_vacuum`}},
	"pragmas that read": {works, []string{`pragma table_info`, `pragma table_xinfo`, `pragma table_list`, `pragma index_list`, `pragma index_info`, `pragma index_xinfo`, `pragma foreign_key_list`,
		`pragma foreign_key_check`, `pragma integrity_check`, `pragma quick_check`, `pragma user_version$`, `pragma foreign_keys$`}},
	"facts of one node in a write": {refuses, []string{`from dbstat`, `from sqlite_dbpage`, `from pragma_table_info`, `pragma_database_list`, `sqlite_offset\(`, `sqlite_version\(`, `sqlite_source_id\(`,
		`sqlite_compileoption_used\(`, `sqlite_compileoption_get\(`, `fts5_locale\(`, `fts5_source_id\(`}},
	"modules":               {works, []string{`using fts5\(`, `using rtree\(`, `using rtree_i32\(`, `using geopoly\(`}},
	"modules of one node":   {refuses, []string{`using fts5vocab`, `using dbstat`, `using sqlite_dbpage|using nosuch`}},
	"names made up":         {refuses, []string{`create table \w+ as select .*, .*, .*, .*, .*`}},
	"the engine's own":      {refuses, []string{`from _rsqld_`, `into _rsqld_`, `update _rsqld_`, `delete from _rsqld_`, `create table _rsqld`, `create index .* on _rsqld`, `rename to _rsqld`, `drop table _rsqld`, `create trigger .* on _rsqld`, `create view _rsqld`}},
	"shadow tables":         {fails, []string{`(delete from|insert into|update) \w+_(content|data|node|idx|docsize|config)`}},
	"DELETE with LIMIT":     {fails, []string{`delete from .* limit`, `update .* limit`}},
	"collations":            {fails, []string{`collate (nosuch|absent|unicode)`}},
	"ties":                  {works, []string{`insert into .* order by .* limit`, `row_number\(\)`}},
	"an order that is none": {works, []string{`insert into \w+ select .* limit`}},
	"limits":                {fails, []string{`zeroblob\(2000000000\)`, `recursive endless`}},
	"schema":                {works, []string{`alter table .* rename to`, `alter table .* rename column`, `alter table .* drop column`, `alter table .* add column`, `^reindex`, `strict`, `without rowid`, `generated always|as \(.*\) stored`, `create view`, `autoincrement`}},
	"language":              {works, []string{`returning`, `on conflict.*do update`, `on conflict do nothing`, `with recursive`, `json_`, `over \(`, `match '`, `replace into`, `insert or ignore`, `update .* from`, `instead of`}},
}

// Each rule of determinism and each line of the policy has entries in the corpus, which TestEqualCorpus applies on all
// replicas, and they come to what the rule says.
func TestCorpusCoversEveryRule(t *testing.T) {
	entries := map[string][]string{}
	for _, c := range readCorpus(t) {
		for _, entry := range c.entries {
			came := works
			if entry.fails != "" {
				came = fails
			}
			if strings.Contains(entry.fails, " is not supported: ") {
				came = refuses
			}
			entries[came] = append(entries[came], strings.ToLower(strings.Join(strings.Fields(entry.sql), " ")))
		}
	}
	for _, rule := range slices.Sorted(maps.Keys(covered)) {
		for _, pattern := range covered[rule].patterns {
			if !slices.ContainsFunc(entries[covered[rule].comes], regexp.MustCompile(pattern).MatchString) {
				t.Errorf("%s: no entry that %s holds %s", rule, covered[rule].comes, pattern)
			}
		}
	}
}

// Every PRAGMA that this SQLite knows is allowed by name or has an entry in the corpus that shows its refusal: a new
// version cannot bring one along that nobody has looked at.
func TestEveryPragmaIsJudged(t *testing.T) {
	e := openEngine(t, Config{})
	var refusedOnes strings.Builder
	for _, c := range readCorpus(t) {
		for _, entry := range c.entries {
			if strings.Contains(entry.fails, " is not supported: ") {
				refusedOnes.WriteString(strings.ToLower(entry.sql))
			}
		}
	}
	for _, name := range strings.Fields(strings.ReplaceAll(rowsOf(t, e, "pragma pragma_list"), "|", " ")) {
		if _, listed := pragmas[name]; !listed && !regexp.MustCompile(`pragma (main\.)?`+name+`\b`).MatchString(refusedOnes.String()) {
			t.Errorf("pragma %s: neither allowed nor in the corpus", name)
		}
	}
}
