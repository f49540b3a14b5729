package lists

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/lists"
)

// Keyless and others can't be listed.
type (
	Keyless struct {
		UserID int
		At     time.Time
	}
	Paired struct {
		A  int `gorm:"primaryKey"`
		B  int `gorm:"primaryKey"`
		At time.Time
	}
	Named struct {
		Name   string `gorm:"primaryKey;size:20"`
		UserID int
	}
	Odd struct {
		ID     uint
		Weight float64
		Sent   *time.Time
		UserID int
		Team   *Odd `gorm:"-"`
	}
	Missing struct {
		ID     uint
		UserID int
	}
)

// TestErrorsNameTheOptionAndTheRemedy of each declaration that can't be maintained.
func TestErrorsNameTheOptionAndTheRemedy(t *testing.T) {
	fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&Follow{}, &Keyless{}, &Paired{}, &Named{}, &Odd{}}}, func(t *testing.T, f *fixture.Fixture) {
		by, kept := lists.By("UserID"), lists.Timeout(time.Hour)
		for name, test := range map[string]struct {
			err   error
			words []string
		}{
			"no_key":           {declare[Keyless](f.DB, by, kept), []string{"lists.New", "Keyless", "no primary key", "give it one"}},
			"a_key_of_two":     {declare[Paired](f.DB, lists.By("A"), kept), []string{"lists.New", "Paired", "several columns", "unique index"}},
			"a_key_of_text":    {declare[Named](f.DB, by, kept), []string{"lists.New", "Named", "Name is a string", "whole number"}},
			"no_by":            {declare[Odd](f.DB, kept), []string{"lists.By", "missing", "name the fields"}},
			"an_empty_by":      {declare[Odd](f.DB, lists.By(), kept), []string{"lists.By", "one at least"}},
			"a_field_twice":    {declare[Odd](f.DB, lists.By("UserID", "user_id"), kept), []string{"lists.By", "once"}},
			"no_column":        {declare[Odd](f.DB, lists.By("Owner"), kept), []string{"lists.By", `"Owner"`, "no column of Odd", "user_id"}},
			"no_column_either": {declare[Odd](f.DB, lists.By("Team"), kept), []string{"lists.By", `"Team"`, "no column"}},
			"an_opaque_by":     {declare[Odd](f.DB, lists.By("Sent"), kept), []string{"lists.By", `"Sent"`, "docs/sql.md"}},
			"no_timeout":       {declare[Odd](f.DB, by), []string{"lists.Timeout", "0s", "lists.Timeout(time.Hour)"}},
			"a_timeout_of_ns":  {declare[Odd](f.DB, by, lists.Timeout(10)), []string{"lists.Timeout", "10ns", "millisecond"}},
			"keep_nothing":     {declare[Odd](f.DB, by, kept, lists.Keep(-1)), []string{"lists.Keep", "-1", "10,000"}},
			"an_odd_order":     {declare[Odd](f.DB, by, kept, lists.Order("Weight", lists.Ascending)), []string{"lists.Order", `"Weight"`, "float64", "time.Time", "follow each other by ID"}},
			"an_order_of_null": {declare[Odd](f.DB, by, kept, lists.Order("Sent", lists.Ascending)), []string{"lists.Order", `"Sent"`, "never NULL"}},
			"no_order":         {declare[Odd](f.DB, by, kept, lists.Order("Height", lists.Ascending)), []string{"lists.Order", `"Height"`, "no column of Odd"}},
			"a_subquery":       {declare[Odd](f.DB, by, kept, lists.Where("id IN (SELECT id FROM odds)")), []string{"lists.Where", "other rows", "compare columns of odds"}},
			"a_clock":          {declare[Odd](f.DB, by, kept, lists.Where("sent < CURRENT_TIMESTAMP")), []string{"lists.Where", "not stable"}},
			"chance":           {declare[Odd](f.DB, by, kept, lists.Where("weight < nobodyknows(id)")), []string{"lists.Where", "nobodyknows"}},
			"no_table":         {declare[Missing](f.DB, by, kept), []string{"missings", "must be there", "unknown table"}},
		} {
			t.Run(name, func(t *testing.T) {
				require.Error(t, test.err)
				for _, word := range test.words {
					require.ErrorContains(t, test.err, word)
				}
			})
		}
		require.NoError(t, declare[Odd](f.DB, by, kept))
		_, err := lists.New[Odd](f.Plain, "odds", by, kept)
		require.ErrorIs(t, err, cacheplugin.ErrNotInstalled)

		l, err := lists.New[Odd](f.DB, "odds", by, kept)
		require.NoError(t, err)
		for name, test := range map[string]struct {
			key   lists.KeyValues
			words string
		}{
			"no_value":      {lists.Key("UserID"), "followed by its value"},
			"no_name":       {lists.Key(1, 2), "followed by its value"},
			"no_field":      {lists.Key("Owner", 1), "no column of Odd"},
			"null":          {lists.Key("UserID", nil), "NULL"},
			"another_field": {lists.Key("ID", 1), "no lists.By of odds"},
			"no_key":        {lists.Key(), "no lists.By of odds"},
		} {
			t.Run("key_with_"+name, func(t *testing.T) {
				_, err := l.Count(t.Context(), test.key)
				require.ErrorContains(t, err, test.words)
				require.ErrorIs(t, err, cacheplugin.ErrConfig)
				_, err = l.Get(t.Context(), test.key).Page(0, 1)
				require.ErrorContains(t, err, test.words)
			})
		}
		_, err = l.CountsBy(t.Context(), lists.Key("UserID", 1), lists.Day, epoch, at(1))
		require.ErrorContains(t, err, "order the list by a time.Time")
	})
}

func declare[T any](db *gorm.DB, options ...lists.Option) error {
	_, err := lists.New[T](db, "odds", options...)
	return err
}

// TestWithoutTheCacheTheDatabaseAnswers: whatever keeps Redis from answering.
func TestWithoutTheCacheTheDatabaseAnswers(t *testing.T) {
	for name, config := range map[string]cacheplugin.Config{
		"disabled": {Disabled: true},
		"strict":   {Consistency: cacheplugin.Strict},
		"stamps":   {Mode: cacheplugin.InsideOut},
	} {
		t.Run(name, func(t *testing.T) {
			fixture.OnEveryDatabase(t, fixture.Options{Models: []any{&Follow{}}, Config: config}, func(t *testing.T, f *fixture.Fixture) {
				s := newSubject(t, f, declared())
				for i := range 3 {
					require.NoError(t, s.DB.Create(&Follow{FollowerID: 1, FolloweeID: i, CreatedAt: at(i)}).Error)
					s.same(t, 1)
					s.same(t, 1)
				}
				if name != "disabled" {
					require.Zero(t, s.same(t, 1))
				}
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				_, err := s.follows.Get(ctx, of(1)).Page(0, 1)
				require.ErrorIs(t, err, context.Canceled)
			})
		})
	}
}
