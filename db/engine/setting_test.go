package engine

import (
	"errors"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db/command/commandpb"
)

// The setting for foreign keys holds from the entry after Bootstrap on, whatever the batch, and the PRAGMA that equals
// it is accepted.
func TestForeignKeySetting(t *testing.T) {
	for _, value := range []string{"on", "off"} {
		e := openEngine(t, Config{})
		l := newLog(t)
		rowsOf(t, e, "select 1") // a reader from before
		l.bootstrap(map[string]string{SettingForeignKeys: value})
		l.script("create table p(id integer primary key); create table c(p references p)")
		l.script("insert into c values(1)")
		l.script("pragma foreign_keys=" + value)
		results := l.apply(e)
		if failed := results[2].Extended == codeForeignKey; failed != (value == "on") || results[3].Err != nil {
			t.Errorf("%s: the violation gave %v, the pragma %v", value, results[2].Err, results[3].Err)
		}
		if got := rowsOf(t, e, "pragma foreign_keys"); (got == "1") != (value == "on") {
			t.Errorf("%s: a reader says %s", value, got)
		}
		if e.Settings()[SettingForeignKeys] != value {
			t.Errorf("settings: %v", e.Settings())
		}
	}
}

// A Bootstrap with a setting that is not known or has no sense is refused, with the reason, and so is it by CheckSettings.
func TestBadSettings(t *testing.T) {
	for name, value := range map[string]string{"sql.nonsense": "1", SettingForeignKeys: "maybe", SettingMaxRows: "0", SettingMaxSteps: "999",
		SettingMaxValue: "1000000001", SettingMaxStatement: "1", SettingMaxParameters: "99", SettingRecursiveTriggers: "ON"} {
		e := openEngine(t, Config{})
		l := newLog(t)
		settings := map[string]string{name: value}
		l.bootstrap(settings)
		err := CheckSettings(settings)
		if r := l.apply(e)[0]; err == nil || r.Err == nil || r.Err.Error() != err.Error() || !strings.Contains(err.Error(), name) {
			t.Errorf("%s=%s: applied %v, checked %v", name, value, r.Err, err)
		}
		if e.Cluster() != [16]byte{} || len(e.Members()) != 0 {
			t.Errorf("%s=%s: the refused Bootstrap left something", name, value)
		}
	}
}

// configure adds a ChangeSettings, applies it and returns its result.
func (l *log) configure(e *Engine, settings map[string]string) *Result {
	l.t.Helper()
	l.changeSettings(settings)
	results := l.apply(e)
	return results[len(results)-1]
}

func (l *log) changeSettings(settings map[string]string) {
	l.t.Helper()
	l.command(&commandpb.Command{Body: &commandpb.Command_ChangeSettings{ChangeSettings: &commandpb.ChangeSettings{Settings: settings}}})
}

// Settings are changed through the log: all of one command or none, from the next entry on, in whatever batch, also after
// a restart. An empty value is the default again.
func TestChangeSettings(t *testing.T) {
	var chains []Chain
	hundred := make([]*commandpb.Argument, 101)
	for i := range hundred {
		hundred[i] = integer(int64(i))
	}
	for _, size := range []int{1, 100} {
		e := openEngine(t, Config{})
		l := newLog(t)
		l.changeSettings(map[string]string{SettingMaxRows: "5"}) // too early
		l.bootstrap(map[string]string{SettingForeignKeys: "off"})
		l.script("create table p(id integer primary key); create table c(p references p)")
		l.script("insert into c values(1)")
		l.changeSettings(map[string]string{SettingForeignKeys: "on", SettingMaxRows: "2"})
		l.script("insert into c values(2)")
		l.script("insert into p values(1), (2), (3)")
		l.changeSettings(map[string]string{SettingForeignKeys: "off", "sql.nonsense": "1"})
		l.script("insert into c values(3)")
		l.changeSettings(map[string]string{SettingMaxRows: "", SettingMaxValue: "2097152"})
		l.script("insert into p values(1), (2), (3)")
		l.script("select zeroblob(2097153)")
		l.statement("select ?101", hundred...)
		l.changeSettings(map[string]string{SettingMaxParameters: "100"})
		l.statement("select ?101", hundred...)
		want := []bool{true, false, false, false, false, true, true, true, true, false, false, true, false, false, true}
		for int(e.Applied()) < len(l.entries) {
			applied := int(e.Applied())
			results, err := e.Apply(l.entries[applied:min(applied+size, len(l.entries))])
			if err != nil {
				t.Fatal(err)
			}
			for i, one := range results {
				if r := one.(*Result); (r.Err != nil) != want[applied+i] {
					t.Errorf("batch size %d, entry %d: %v", size, r.Index, r.Err)
				}
			}
		}
		chains = append(chains, e.Chain())
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		again := openEngine(t, Config{Dir: e.config.Dir})
		s := again.Settings()
		if s[SettingForeignKeys] != "on" || s[SettingMaxRows] != settingDefaults[SettingMaxRows] || s[SettingMaxValue] != "2097152" || len(s) != len(settingDefaults) {
			t.Errorf("settings %v", s)
		}
	}
	if chains[0] != chains[1] {
		t.Errorf("chains %v", chains)
	}
}

// A connection that was open before a setting changed keeps the new one: a reader, and the one that classifies.
func TestChangedSettingsReachReaders(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	l.bootstrap(nil)
	l.apply(e)
	const text, many = "select zeroblob(3000000)", "select ?500"
	read := func() error {
		_, err := e.Query(t.Context(), text, nil, new(rows))
		_, bad := e.Classify(many)
		return errors.Join(err, bad)
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	l.configure(e, map[string]string{SettingMaxValue: "2097152", SettingMaxParameters: "400"})
	err := read()
	if err == nil || !strings.Contains(err.Error(), SettingMaxValue) || !strings.Contains(err.Error(), "more than 400 parameters in one statement, the limit of the setting sql.max_parameters") {
		t.Errorf("with the new settings: %v", err)
	}
	l.configure(e, map[string]string{SettingMaxValue: "", SettingMaxParameters: ""})
	if err := read(); err != nil {
		t.Errorf("with the defaults again: %v", err)
	}
}

// Rows that violate a foreign key from the time when keys were off do not stop the cluster when a later entry mends more
// of them than it makes: SQLite refuses such a transaction at its COMMIT, and each entry is refused as SQLite would
// refuse it, whatever its batch. What adds up to nothing leaves nothing to the next entry either.
func TestMendingOldViolations(t *testing.T) {
	var chains []Chain
	for _, size := range []int{1, 3, 100} {
		e := openEngine(t, Config{})
		l := newLog(t)
		l.bootstrap(map[string]string{SettingForeignKeys: "off"})
		l.script("create table p(id integer primary key); create table c(p references p deferrable initially deferred)",
			"create table now_(p references p); insert into c values(99), (99), (99), (98); insert into now_ values(97)")
		l.changeSettings(map[string]string{SettingForeignKeys: "on"})
		l.script("insert into c values(99); insert into p values(99)")
		l.script("insert into p values(98)")
		l.script("insert into c values(5); insert into p values(5)")
		l.script("pragma defer_foreign_keys=1; insert into c values(7); insert into now_ values(8); insert into p values(97), (7), (8)")
		l.script("insert into c values(1000)")
		l.script("insert into p values(99); insert into c values(99)")
		l.script("insert into c values(6); insert into p values(6)")
		want := []bool{false, false, false, true, false, false, false, true, false, false}
		for int(e.Applied()) < len(l.entries) {
			applied := int(e.Applied())
			results, err := e.Apply(l.entries[applied:min(applied+size, len(l.entries))])
			if err != nil {
				t.Fatalf("batch size %d: %v", size, err)
			}
			for i, one := range results {
				if r := one.(*Result); (r.Extended == codeForeignKey) != want[applied+i] {
					t.Errorf("batch size %d, entry %d: %v", size, r.Index, r.Err)
				}
			}
		}
		chains = append(chains, e.Chain())
	}
	if chains[0] != chains[1] || chains[0] != chains[2] {
		t.Errorf("chains %v", chains)
	}
}
