package work

import (
	"cmp"
	"fmt"
	"slices"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/checker/internal/history"
	"github.com/cacheplugin/cacheplugin/replication/postgres"
)

// Item is a row whose version goes up by one in each transaction that touches
// it, also in those that delete it or make it anew.
type Item struct {
	ID  uint32 `gorm:"primaryKey;autoIncrement:false"`
	Grp uint32
	Ver uint32
}

// Team is a group of items, and has versions as they have.
type Team struct {
	ID    uint32 `gorm:"primaryKey;autoIncrement:false"`
	Ver   uint32
	Items []Item `gorm:"foreignKey:Grp"`
}

// Tomb keeps the version of a row that is deleted.
type Tomb struct {
	ID  uint32 `gorm:"primaryKey;autoIncrement:false"` // see tombOf
	Ver uint32
}

// tombOf is the ID of a row's tomb.
func tombOf(r history.Row) uint32 { return uint32(r.Table)*1_000_000 + r.ID }

// Setup makes the tables with their first rows and returns these.
func Setup(db *gorm.DB, items, groups int) ([]history.State, error) {
	if err := db.Migrator().CreateTable(&Item{}, &Team{}, &Tomb{}); err != nil {
		return nil, fmt.Errorf("work: make the tables: %w", err)
	}
	var (
		rows  []Item
		teams []Team
	)
	for i := range items {
		rows = append(rows, Item{ID: uint32(i + 1), Grp: uint32(1 + i%groups)})
	}
	for g := range groups {
		teams = append(teams, Team{ID: uint32(g + 1)})
	}
	if err := db.Create(&rows).Error; err != nil {
		return nil, fmt.Errorf("work: make the items: %w", err)
	}
	if err := db.Omit("Items").Create(&teams).Error; err != nil {
		return nil, fmt.Errorf("work: make the groups: %w", err)
	}
	return States(db)
}

// Publish has the log of a database tell all that a follower asks for: of items
// the old rows as a whole, of groups their keys alone.
func Publish(db *gorm.DB) error {
	if db.Name() != "postgres" {
		return nil
	}
	if err := db.Exec("CREATE PUBLICATION cacheplugin FOR ALL TABLES").Error; err != nil {
		return fmt.Errorf("work: publish the tables: %w", err)
	}
	return postgres.SetReplicaIdentity(db, &Item{})
}

// States reads the state of every row from the database.
func States(db *gorm.DB) ([]history.State, error) {
	var (
		items []Item
		teams []Team
		tombs []Tomb
	)
	for _, all := range []any{&items, &teams, &tombs} {
		if err := db.Find(all).Error; err != nil {
			return nil, fmt.Errorf("work: read the tables: %w", err)
		}
	}
	var states []history.State
	for _, i := range items {
		states = append(states, i.state())
	}
	for _, t := range teams {
		states = append(states, t.state())
	}
	for _, t := range tombs {
		row := history.Row{Table: history.Table(t.ID / 1_000_000), ID: t.ID % 1_000_000}
		states = append(states, history.State{Row: row, Version: t.Ver})
	}
	slices.SortFunc(states, func(a, b history.State) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(a.ID, b.ID))
	})
	return states, nil
}

func (i Item) state() history.State {
	return history.State{Row: history.Row{Table: history.Items, ID: i.ID}, Version: i.Ver, Group: i.Grp, Present: true}
}

func (t Team) state() history.State {
	return history.State{Row: history.Row{Table: history.Groups, ID: t.ID}, Version: t.Ver, Present: true}
}
