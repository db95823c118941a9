package gorm

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"

	"github.com/rsqld/rsqld/db/driver"
)

type company struct {
	ID   int
	Name string `gorm:"uniqueIndex"`
}

type account struct {
	gorm.Model
	UserID uint
	Number string
}

type language struct {
	Code string `gorm:"primaryKey"`
	Name string
}

type user struct {
	gorm.Model
	Name      string `gorm:"size:100;not null"`
	Age       int    `gorm:"check:age >= 0"`
	Born      *time.Time
	Active    bool
	Score     float64
	Picture   []byte
	CompanyID *int
	Company   *company
	Accounts  []account
	Languages []language `gorm:"many2many:speaks"`
}

var models = []any{&company{}, &account{}, &language{}, &user{}}

// modes are the ways of gorm to send statements.
var modes = map[string]gorm.Config{"plain": {}, "prepared": {PrepareStmt: true}, "without transactions": {SkipDefaultTransaction: true}}

// each runs a test in each mode, on tables without rows.
func each(t *testing.T, test func(*testing.T, *gorm.DB)) {
	for name, config := range modes {
		t.Run(name, func(t *testing.T) {
			config.TranslateError, config.Logger = true, logger.Discard
			db, err := gorm.Open(sqlite.New(sqlite.Config{DriverName: "rsqld", DSN: os.Getenv("RSQLD_DSN")}), &config)
			must(t, err)
			pool, err := db.DB()
			must(t, err)
			defer pool.Close()
			without(t, pool, func() {
				must(t, db.Migrator().DropTable(append([]any{"speaks"}, models...)...))
				must(t, db.AutoMigrate(models...))
			})
			test(t, db)
		})
	}
}

// without does something while foreign keys are off, for the whole cluster: gorm makes tables anew and drops the old ones, for
// which it tries to turn them off on its connection, and does not look whether that worked.
func without(t *testing.T, pool *sql.DB, do func()) {
	t.Helper()
	set := func(value string) {
		conn, err := pool.Conn(t.Context())
		must(t, err)
		defer conn.Close()
		must(t, conn.Raw(func(c any) error {
			results, err := c.(*driver.Conn).Control(t.Context(), "set", "sql.foreign_keys="+value)
			if err != nil {
				return err
			}
			return results.Close()
		}))
	}
	set("off")
	defer set("on")
	do()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ann() *user {
	born := time.Date(1990, 5, 1, 10, 30, 0, 123456789, time.FixedZone("", 3600))
	return &user{Name: "ann", Age: 33, Born: &born, Active: true, Score: 1.5, Picture: []byte{0, 1, 255}, Company: &company{Name: "acme"},
		Accounts: []account{{Number: "1"}, {Number: "2"}}, Languages: []language{{"en", "English"}, {"de", "German"}}}
}

// What is created with all that belongs to it is found again with all of it.
func TestCreateAndFind(t *testing.T) {
	each(t, func(t *testing.T, db *gorm.DB) {
		made := ann()
		must(t, db.Create(made).Error)
		var found user
		must(t, db.Preload(clause.Associations).First(&found, "name = ?", "ann").Error)
		if found.ID != made.ID || found.Age != 33 || !found.Born.Equal(*made.Born) || !found.Active || found.Score != 1.5 || len(found.Picture) != 3 ||
			found.Company.Name != "acme" || len(found.Accounts) != 2 || len(found.Languages) != 2 || found.CreatedAt.IsZero() {
			t.Errorf("%+v", found)
		}
		batch := make([]user, 250)
		for i := range batch {
			batch[i] = user{Name: fmt.Sprintf("u%d", i), Age: i}
		}
		must(t, db.CreateInBatches(batch, 100).Error)
		if batch[249].ID != made.ID+250 {
			t.Errorf("the last one has id %d", batch[249].ID)
		}
		seen := 0
		err := db.Where("age < ?", 120).FindInBatches(&[]user{}, 50, func(tx *gorm.DB, _ int) error {
			seen += int(tx.RowsAffected)
			return tx.Model(&user{}).Where("name = 'u0'").Update("score", gorm.Expr("score + 1")).Error
		}).Error
		var total float64
		must(t, errors.Join(err, db.Model(&user{}).Where("name = 'u0'").Pluck("score", &total).Error))
		if seen != 121 || total != 3 {
			t.Errorf("%d seen in batches, score %v", seen, total)
		}
		rows, err := db.Model(&user{}).Order("id").Rows()
		must(t, err)
		defer rows.Close()
		for n := 0; rows.Next() && n < 5; n++ { // and writes meanwhile
			var u user
			must(t, db.ScanRows(rows, &u))
			must(t, db.Model(&u).Update("active", true).Error)
		}
	})
}

// Changes, upserts and deletions change what they say and tell how many.
func TestChange(t *testing.T) {
	each(t, func(t *testing.T, db *gorm.DB) {
		made := ann()
		must(t, db.Create(made).Error)
		must(t, db.Model(made).Updates(map[string]any{"age": 34, "picture": nil}).Error)
		must(t, db.Model(made).Association("Languages").Delete(language{Code: "de"}))
		must(t, db.Model(made).Association("Accounts").Append(&account{Number: "3"}))
		var found user
		must(t, db.Preload(clause.Associations).First(&found, made.ID).Error)
		if found.Age != 34 || found.Picture != nil || len(found.Languages) != 1 || len(found.Accounts) != 3 {
			t.Errorf("%+v", found)
		}
		upsert := clause.OnConflict{Columns: []clause.Column{{Name: "code"}}, DoUpdates: clause.AssignmentColumns([]string{"name"})}
		must(t, db.Clauses(upsert).Create(&[]language{{"en", "english"}, {"fr", "french"}}).Error)
		var names []string
		must(t, db.Model(&language{}).Order("code").Pluck("name", &names).Error)
		if fmt.Sprint(names) != "[German english french]" {
			t.Errorf("languages %v", names)
		}
		var gone []account
		result := db.Clauses(clause.Returning{}).Where("number > ?", "1").Delete(&gone)
		if result.Error != nil || result.RowsAffected != 2 {
			t.Errorf("%d deleted, %v", result.RowsAffected, result.Error)
		}
		var left, all int64
		must(t, errors.Join(db.Model(&account{}).Count(&left).Error, db.Unscoped().Model(&account{}).Count(&all).Error))
		if left != 1 || all != 3 {
			t.Errorf("%d accounts, %d with those deleted softly", left, all)
		}
		if err := db.First(&user{}, 99).Error; !errors.Is(err, gorm.ErrRecordNotFound) {
			t.Errorf("a user that is not there: %v", err)
		}
	})
}

// Transactions, nested ones too, happen as a whole or not at all.
func TestTransactions(t *testing.T) {
	each(t, func(t *testing.T, db *gorm.DB) {
		mine := errors.New("mine")
		err := db.Transaction(func(tx *gorm.DB) error {
			must(t, tx.Create(&company{Name: "a"}).Error)
			if err := tx.Transaction(func(inner *gorm.DB) error {
				must(t, inner.Create(&company{Name: "b"}).Error)
				return mine
			}); err != mine {
				t.Errorf("the inner one ends with %v", err)
			}
			must(t, tx.SavePoint("p").Error)
			must(t, tx.Create(&company{Name: "c"}).Error)
			must(t, tx.RollbackTo("p").Error)
			return tx.Create(&company{Name: "d"}).Error
		})
		must(t, err)
		if err := db.Transaction(func(tx *gorm.DB) error {
			must(t, tx.Create(&company{Name: "e"}).Error)
			return tx.Create(&company{Name: "a"}).Error
		}); !errors.Is(err, gorm.ErrDuplicatedKey) {
			t.Errorf("a double key: %v", err)
		}
		tx := db.Begin()
		must(t, tx.Create(&company{Name: "f"}).Error)
		must(t, tx.Rollback().Error)
		var names []string
		must(t, db.Model(&company{}).Order("name").Pluck("name", &names).Error)
		if fmt.Sprint(names) != "[a d]" {
			t.Errorf("companies %v", names)
		}
	})
}

// Errors of the database are gorm's.
func TestErrors(t *testing.T) {
	each(t, func(t *testing.T, db *gorm.DB) {
		must(t, db.Create(&company{ID: 1, Name: "a"}).Error)
		for name, test := range map[string]struct{ err, want error }{
			"unique":      {db.Create(&company{Name: "a"}).Error, gorm.ErrDuplicatedKey},
			"primary key": {db.Create(&company{ID: 1, Name: "b"}).Error, gorm.ErrDuplicatedKey},
			"foreign key": {db.Create(&user{Name: "x", CompanyID: new(int)}).Error, gorm.ErrForeignKeyViolated},
		} {
			if !errors.Is(test.err, test.want) {
				t.Errorf("%s: %v, want %v", name, test.err, test.want)
			}
		}
		if err := db.Create(&user{Name: "x", Age: -1}).Error; err == nil {
			t.Error("a check does not hold")
		}
	})
}

// The schema can be read and changed, with the rows that are there.
func TestMigrator(t *testing.T) {
	each(t, func(t *testing.T, db *gorm.DB) {
		must(t, db.Create(ann()).Error)
		m := db.Migrator()
		type user struct {
			Name  string `gorm:"size:300"`
			Email string `gorm:"default:none;index"`
		}
		pool, err := db.DB()
		must(t, err)
		without(t, pool, func() {
			must(t, m.AddColumn(&user{}, "Email"))
			must(t, m.AlterColumn(&user{}, "Name"))
			must(t, m.CreateIndex(&user{}, "Email"))
			must(t, m.RenameColumn(&user{}, "score", "points"))
			must(t, m.DropColumn(&user{}, "picture"))
			must(t, db.AutoMigrate(&user{}))
		})
		if !m.HasTable("users") || !m.HasIndex(&user{}, "Email") || !m.HasColumn(&user{}, "points") || m.HasColumn(&user{}, "picture") {
			t.Error("the schema is not what it was made")
		}
		types, err := m.ColumnTypes("users")
		must(t, err)
		declared := map[string]string{}
		for _, column := range types {
			declared[column.Name()] = column.DatabaseTypeName()
		}
		if declared["points"] != "real" || declared["email"] != "text" || declared["born"] != "datetime" {
			t.Errorf("columns %v", declared)
		}
		var email string
		must(t, db.Table("users").Where("name = 'ann'").Pluck("email", &email).Error)
		if email != "none" {
			t.Errorf("email %q", email)
		}
	})
}
