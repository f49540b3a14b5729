package cachetest_test

import (
	"fmt"
	"testing"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cachetest"
)

// printing stands for the testing.T of a test, which an example doesn't have.
type printing struct {
	testing.TB
	cleanups []func()
}

func (p *printing) Helper()                           {}
func (p *printing) Name() string                      { return "example" }
func (p *printing) Cleanup(f func())                  { p.cleanups = append(p.cleanups, f) }
func (p *printing) Logf(string, ...any)               {}
func (p *printing) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
func (p *printing) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (p *printing) FailNow()                          { panic("the test ends here") }

func (p *printing) end() {
	for i := len(p.cleanups) - 1; i >= 0; i-- {
		p.cleanups[i]()
	}
}

// The last assertion fails, and says how the query was answered.
func ExampleAssertDropped() {
	t := new(printing) // in a test: its *testing.T
	defer t.end()
	db := open(t)
	cachetest.Use(t, db, cacheplugin.Config{Profiles: profiles(), Logger: discard})

	articles := func(db *gorm.DB) error { return db.Find(&[]Article{}, "tag_id = ?", 1).Error }
	rename := func(tag int) cachetest.Call {
		return func(db *gorm.DB) error {
			return db.Model(&Article{}).Where("tag_id = ?", tag).Update("title", "Deuterium").Error
		}
	}
	fmt.Println(cachetest.AssertMiss(t, db, articles))
	fmt.Println(cachetest.AssertHit(t, db, articles))
	fmt.Println(cachetest.AssertDropped(t, db, rename(1), articles))
	fmt.Println(cachetest.AssertKept(t, db, rename(2), articles))
	fmt.Println(cachetest.AssertDropped(t, db, rename(2), articles))
	// Output:
	// true
	// true
	// true
	// true
	// cachetest: the write has dropped nothing of the query:
	//   articles: hit
	// false
}
