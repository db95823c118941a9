package engine
import ("testing";"fmt")
func TestZZ(t *testing.T){
	for _, s := range []string{
	 "create trigger x after insert on t begin insert into rt values(new.id+1000,0,1,0,1); end; insert into t(a) select id from rt",
	 "insert into t(a) select id from rt where x0 > -1 returning (select count(*) from rt)",
	 "insert into rt select id+100,x0,x1,y0,y1 from rt returning id",
	 "create table q(i integer primary key, a references rt)",
	 "create trigger x after insert on t begin insert into ft(body) values(new.a); end; insert into t(a) select rowid from ft where ft match 'a'",
	 "create trigger x after insert on t begin delete from ft; end; insert into t(a) select rowid from ft where ft match 'a or c'",
	 "create trigger x after insert on t begin insert into ft(ft) values('rebuild'); end; insert into t(a) select rowid from ft",
	 "create trigger x after delete on t begin delete from rt; end; delete from t where a in (select id from rt)",
	 "insert into u select 1, randomblob(100000000)", "select randomblob(300000000)",
	 "drop table ft; select * from ft",
	 "select count(*) from (select hex(zeroblob(120000000)) union all select hex(zeroblob(120000000)))",
	}{
		e := openEngine(t, Config{}); l := newLog(t); l.bootstrap(nil)
		l.script(hostileSchema, "insert into rt values(1, 0, 1, 0, 1), (2, 0, 1, 0, 1); insert into ft(body) values('a b'), ('c'); insert into t(a) values(1),(2)")
		l.script(s)
		rs, err := e.Apply(l.entries)
		if err != nil { fmt.Println("STOP", s, err); continue }
		fmt.Println(s, rs[2].(*Result).Err)
	}
}
