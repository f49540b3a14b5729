package rows_test

import (
	"database/sql"
	"database/sql/driver"
	"testing"

	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/catalog"
	"github.com/cacheplugin/cacheplugin/internal/rows"
)

// indexed gives owners the indexes that MySQL's catalog would tell of.
func indexed(level sql.IsolationLevel) func(*session, *rows.Options) {
	return func(s *session, o *rows.Options) {
		o.Isolation = level
		s.edit = func(table *catalog.Table) {
			if table.Name == "owners" {
				table.UniqueIndexes = []catalog.UniqueIndex{{Name: "PRIMARY", Columns: []int{0}}, {Name: "by`code", Columns: []int{1}}}
			}
		}
	}
}

// counters is an answer of what the session has done.
func counters(writes, updates int64) [][]driver.Value {
	return [][]driver.Value{{"Handler_update", updates}, {"Handler_write", writes}}
}

func TestDuplicates(t *testing.T) {
	byCode := `SELECT * FROM owners WHERE code = 1`
	const (
		list        = "SELECT `id`, `code`, `the\"city`, (`since` IS NULL)"
		summed      = list + ", CRC32(`code`) FROM `owners` FORCE INDEX (`PRIMARY`) WHERE `id` IN "
		summedCode  = list + ", CRC32(`code`) FROM `owners` FORCE INDEX (`by``code`) WHERE `code` IN "
		status      = "SHOW SESSION STATUS WHERE Variable_name IN ('Handler_write', 'Handler_update')"
		onDuplicate = " ON DUPLICATE KEY UPDATE code = VALUES(code)"
		nothingNew  = " ON DUPLICATE KEY UPDATE id = id"
	)
	owner := func(id, code, sum int64) []driver.Value {
		return []driver.Value{id, code, int64(5), int64(1), sum}
	}
	bare := func(id, code int64) []driver.Value { return owner(id, code, 0)[:4] }
	type table = [][]driver.Value
	repeatable := indexed(sql.LevelRepeatableRead)
	returned := func(keys ...[]any) rows.Outcome {
		return rows.Outcome{Affected: int64(len(keys)), LastInsertID: -1, WrittenKeys: func(*catalog.Table, []int) [][]any { return keys }}
	}
	for name, test := range map[string]remote{
		"a_new_row": {
			arrange: repeatable, text: `INSERT INTO owners (id, code) VALUES (?, ?)` + onDuplicate, args: []any{1, 11},
			answers: answers(table{}), outcome: affected(1),
			asked: []string{summed + "(?) FOR UPDATE"}, want: []string{"rows owners (1 11 null null)"},
		},
		"a_new_row_that_is_numbered": {
			arrange: repeatable, text: `INSERT INTO owners (code) VALUES (11)` + onDuplicate,
			outcome: rows.Outcome{Affected: 1, LastInsertID: 8}, want: []string{"rows owners (8 11 null null)"},
		},
		"zero_is_a_row_that_is_numbered": {
			arrange: repeatable, text: `INSERT INTO owners (id, code) VALUES (0, 11)` + onDuplicate,
			answers: answers(table{bare(8, 11)}), outcome: rows.Outcome{Affected: 1, LastInsertID: 8},
			asked: []string{list + " FROM `owners` WHERE `id` IN (?) LOCK IN SHARE MODE"}, want: []string{"rows owners (8 11 5 null)"},
		},
		"a_row_that_was_there": {
			arrange: repeatable, text: `INSERT INTO owners (id, code) VALUES (?, ?)` + onDuplicate, args: []any{1, 11},
			answers: answers(table{owner(1, 10, 1)}, table{owner(1, 11, 2)}), outcome: affected(2),
			asked: []string{summed + "(?) FOR UPDATE", summed + "(?) FOR UPDATE"},
			sent:  [][]any{{int64(1)}, {int64(1)}},
			want:  []string{"rows owners (1 10 5 null) (1 11 5 null)"},
		},
		"a_number_after_one_that_was_not_there": {
			arrange: func(s *session, o *rows.Options) {
				repeatable(s, o)
				s.absent = true
			},
			text: `INSERT INTO owners (id, code) VALUES (1, 11)` + onDuplicate, outcome: affected(2),
			want: []string{"table owners"},
		},
		"a_number_after_one_that_was_not_there_without_gap_locks": {
			arrange: func(s *session, o *rows.Options) {
				indexed(sql.LevelReadUncommitted)(s, o)
				s.absent = true
			},
			text:    `INSERT INTO owners (id, code) VALUES (1, 11)` + onDuplicate,
			answers: answers(table{owner(1, 10, 1)}, table{}, table{owner(1, 11, 2)}), outcome: affected(2),
			asked: []string{summed + "(?) FOR UPDATE", summedCode + "(?) FOR UPDATE", summed + "(?) FOR UPDATE"},
			want:  []string{"rows owners (1 10 5 null) (1 11 5 null)"},
		},
		"a_row_that_was_there_and_is_not_found_before": {
			arrange: repeatable, text: `INSERT INTO owners (code) VALUES (11)` + onDuplicate, outcome: affected(2),
			want: []string{"table owners"},
		},
		"a_row_that_was_there_and_stays_as_it_was": {
			arrange: repeatable, text: `INSERT INTO owners (id, code) VALUES (1, 10)` + onDuplicate,
			answers: answers(table{owner(1, 10, 1)}), outcome: affected(1), // the driver counts found rows
			asked: []string{summed + "(?) FOR UPDATE"}, want: nothing,
		},
		"a_count_that_can_not_be": {
			arrange: repeatable, text: `INSERT INTO owners (id, code) VALUES (1, 10)` + onDuplicate,
			answers: answers(table{}), outcome: affected(-1),
			asked: []string{summed + "(?) FOR UPDATE"}, want: []string{"table owners"},
		},
		"rows_of_which_one_was_there": {
			arrange: repeatable, text: `INSERT INTO owners (id, code) VALUES (1, 11), (2, 12)` + onDuplicate,
			answers: answers(table{owner(1, 10, 1)}, counters(5, 5), counters(7, 6), table{owner(1, 11, 2)}), outcome: affected(3),
			asked: []string{summed + "(?, ?) FOR UPDATE", status, status, summed + "(?) FOR UPDATE"},
			want:  []string{"rows owners (1 10 5 null) (1 11 5 null) (2 12 null null)"},
		},
		"rows_that_were_all_there": {
			arrange: repeatable, text: `INSERT INTO owners (id, code) VALUES (1, 11), (2, 12)` + onDuplicate,
			answers: answers(table{owner(1, 10, 1), owner(2, 20, 1)}, counters(0, 0), counters(2, 2), table{owner(1, 11, 2), owner(2, 12, 2)}), outcome: affected(4),
			asked: []string{summed + "(?, ?) FOR UPDATE", status, status, summed + "(?, ?) FOR UPDATE"},
			want:  []string{"rows owners (1 10 5 null) (1 11 5 null) (2 20 5 null) (2 12 5 null)"},
		},
		"rows_of_which_one_came_in_between": {
			arrange: repeatable, text: `INSERT INTO owners (id, code) VALUES (1, 11), (2, 12)` + onDuplicate,
			answers: answers(table{owner(1, 10, 1)}, counters(0, 0), counters(2, 2), table{owner(1, 11, 2)}), outcome: affected(4),
			asked: []string{summed + "(?, ?) FOR UPDATE", status, status, summed + "(?) FOR UPDATE"},
			want:  []string{"table owners"},
		},
		"a_locked_row_stays_and_another_is_updated": {
			arrange: repeatable, text: `INSERT INTO owners (id, code) VALUES (1, 11), (2, 12)` + onDuplicate,
			answers: answers(table{owner(1, 10, 1)}, counters(0, 0), counters(2, 1), table{owner(1, 10, 1)}), outcome: affected(2),
			asked: []string{summed + "(?, ?) FOR UPDATE", status, status, summed + "(?) FOR UPDATE"},
			want:  []string{"table owners"},
		},
		"counters_that_stand_still": {
			arrange: repeatable, text: `INSERT INTO owners (id, code) VALUES (1, 11), (2, 12)` + onDuplicate,
			answers: answers(table{}, counters(4, 0), counters(4, 0)), outcome: affected(2),
			asked: []string{summed + "(?, ?) FOR UPDATE", status, status},
			want:  []string{"table owners"},
		},
		"no_counters": {
			arrange: repeatable, text: `INSERT INTO owners (id, code) VALUES (1, 11), (2, 12)` + onDuplicate,
			answers: answers(table{}, table{}, table{}), outcome: affected(2),
			asked: []string{summed + "(?, ?) FOR UPDATE", status, status},
			want:  []string{"table owners"},
		},
		"rows_that_are_returned": {
			arrange: repeatable, text: `INSERT INTO owners (code) VALUES (11), (12)` + onDuplicate + " RETURNING id",
			answers: answers(counters(0, 0), counters(2, 0)), outcome: returned([]any{int64(8)}, []any{int64(9)}),
			asked: []string{status, status},
			want:  []string{"rows owners (8 11 null null) (9 12 null null)"},
		},
		"a_row_that_is_returned_and_was_there": {
			arrange: repeatable, text: `INSERT INTO owners (id, code) VALUES (1, 11), (DEFAULT, 12)` + onDuplicate + " RETURNING id",
			answers: answers(table{owner(1, 10, 1)}, counters(0, 0), counters(2, 1), table{owner(1, 11, 2)}, table{bare(9, 12)}),
			outcome: returned([]any{int64(1)}, []any{int64(9)}),
			asked: []string{
				summed + "(?) FOR UPDATE", status, status, summed + "(?) FOR UPDATE",
				list + " FROM `owners` WHERE `id` IN (?) LOCK IN SHARE MODE",
			},
			want: []string{"rows owners (1 10 5 null) (1 11 5 null) (9 12 5 null)"},
		},
		"a_new_row_that_is_not_found_again": {
			arrange: repeatable, text: `INSERT INTO owners (id, code) VALUES (DEFAULT, 12)` + onDuplicate + " RETURNING id",
			answers: answers(counters(0, 0), counters(1, 0), table{}), outcome: returned([]any{int64(9)}),
			asked: []string{status, status, list + " FROM `owners` WHERE `id` IN (?) LOCK IN SHARE MODE"},
			want:  []string{"table owners"},
		},
		"every_unique_index_without_gap_locks": {
			arrange: indexed(sql.LevelReadCommitted), text: `INSERT INTO owners (id, code) VALUES (1, 11), (2, 12)` + onDuplicate,
			answers: answers(table{owner(1, 10, 1)}, table{owner(1, 10, 1), owner(7, 12, 3)}, counters(0, 0), counters(2, 1), table{owner(1, 11, 2), owner(7, 12, 3)}), outcome: affected(3),
			asked: []string{summed + "(?, ?) FOR UPDATE", summedCode + "(?, ?) FOR UPDATE", status, status, summed + "(?, ?) FOR UPDATE"},
			want:  []string{"rows owners (1 10 5 null) (1 11 5 null) (2 12 null null)"},
		},
		"read_committed_by_default": {
			arrange: func(s *session, o *rows.Options) {
				indexed(sql.LevelDefault)(s, o)
				s.server.DefaultIsolation = "read committed"
			},
			text:    `INSERT INTO owners (code) VALUES (12)` + onDuplicate,
			answers: answers(table{owner(7, 12, 3)}), outcome: affected(0),
			asked: []string{summedCode + "(?) FOR UPDATE"}, want: nothing,
		},
		"a_level_that_is_not_known": {
			arrange: func(s *session, o *rows.Options) {
				indexed(sql.LevelReadCommitted)(s, o)
				o.IsolationUnknown = true
			},
			text: `INSERT INTO owners (code) VALUES (12)` + onDuplicate, outcome: rows.Outcome{Affected: 1, LastInsertID: 8},
			want: []string{"rows owners (8 12 null null)"},
		},
		"the_key_is_assigned": {
			arrange: repeatable, text: `INSERT INTO owners (id, code) VALUES (1, 11) ON DUPLICATE KEY UPDATE id = 9`,
			answers: answers(table{owner(1, 10, 1)}), outcome: affected(2),
			asked: []string{list + ", CRC32(`id`) FROM `owners` FORCE INDEX (`PRIMARY`) WHERE `id` IN (?) FOR UPDATE"}, want: []string{"table owners"},
		},
		"the_rows_can_not_be_read_before": {
			arrange: repeatable, text: `INSERT INTO owners (id, code) VALUES (1, 11)` + onDuplicate,
			answers: []answer{{err: errBroken}}, outcome: affected(1),
			asked: []string{summed + "(?) FOR UPDATE"}, want: []string{"table owners"},
		},
		"the_rows_can_not_be_read_after": {
			arrange: repeatable, text: `INSERT INTO owners (id, code) VALUES (1, 11)` + onDuplicate,
			answers: append(answers(table{owner(1, 10, 1)}), answer{err: errBroken}), outcome: affected(2),
			asked: []string{summed + "(?) FOR UPDATE", summed + "(?) FOR UPDATE"}, want: []string{"table owners"},
		},
		"the_counters_can_not_be_read": {
			arrange: repeatable, text: `INSERT INTO owners (code) VALUES (11), (12)` + onDuplicate,
			answers: []answer{{err: errBroken}}, outcome: affected(2),
			asked: []string{status}, want: []string{"table owners"},
		},
		"the_counters_can_not_be_read_after": {
			arrange: repeatable, text: `INSERT INTO owners (code) VALUES (11), (12)` + onDuplicate,
			answers: append(answers(counters(0, 0)), answer{err: errBroken}), outcome: affected(2),
			asked: []string{status, status}, want: []string{"table owners"},
		},
		"a_deadlock_before": {
			arrange: repeatable, text: `INSERT INTO owners (id, code) VALUES (1, 11)` + onDuplicate,
			answers: []answer{{err: errDeadlock}}, outcome: rows.Outcome{Affected: -1, LastInsertID: -1, Err: errBroken},
			asked: []string{summed + "(?) FOR UPDATE"}, want: []string{"table owners"}, lost: errDeadlock,
		},
		"outside_of_a_transaction": {
			arrange: func(s *session, o *rows.Options) {
				repeatable(s, o)
				o.InTransaction = false
			},
			text: `INSERT INTO owners (id, code) VALUES (1, 2)` + onDuplicate, outcome: affected(1),
			want: []string{"table owners"},
		},
		"what_nobody_narrows_by": {
			cached: []string{`SELECT * FROM owners`}, arrange: repeatable,
			text: `INSERT INTO owners (id, code) VALUES (1, 2), (3, 4)` + onDuplicate, outcome: affected(2),
			want: []string{"rows owners (? ? ? ?)"},
		},
		"do_nothing_for_a_row": {
			arrange: repeatable, text: `INSERT INTO owners (id, code) VALUES (1, 11)` + nothingNew, outcome: affected(1),
			want: []string{"rows owners (1 11 null null)"},
		},
		"do_nothing_for_a_row_that_was_there": {
			arrange: repeatable, text: `INSERT INTO owners (id, code) VALUES (1, 11)` + nothingNew, outcome: affected(0),
			want: nothing,
		},
		"do_nothing_for_rows_that_are_returned": {
			arrange: repeatable, text: `INSERT INTO owners (id, code) VALUES (?, 11), (?, 12)` + nothingNew + " RETURNING id", args: []any{1, 2},
			answers: answers(table{bare(1, 10)}), outcome: returned([]any{int64(1)}, []any{int64(2)}),
			asked: []string{list + " FROM `owners` FORCE INDEX (`PRIMARY`) WHERE `id` IN (?, ?) FOR UPDATE"},
			want:  []string{"rows owners (2 12 null null)"},
		},
		"do_nothing_outside_of_a_transaction": {
			arrange: func(s *session, o *rows.Options) {
				repeatable(s, o)
				o.InTransaction = false
			},
			text: `INSERT INTO owners (id, code) VALUES (1, 11), (2, 12)` + nothingNew, outcome: affected(1),
			want: []string{"rows owners (1 11 null null) (2 12 null null)"},
		},
		"ignore_changes_values": {
			arrange: repeatable, text: `INSERT IGNORE INTO owners (id, code) VALUES (1, 11)`,
			answers: answers(table{bare(1, 12)}), outcome: affected(1),
			asked: []string{list + " FROM `owners` WHERE `id` IN (?) LOCK IN SHARE MODE"},
			want:  []string{"rows owners (1 12 5 null)"},
		},
		"an_insert_of_zero_is_numbered": {
			arrange: repeatable, text: `INSERT INTO owners (id, code) VALUES (?, 11)`, args: []any{0},
			answers: answers(table{bare(8, 11)}), outcome: rows.Outcome{Affected: 1, LastInsertID: 8},
			asked: []string{list + " FROM `owners` WHERE `id` IN (?) LOCK IN SHARE MODE"},
			want:  []string{"rows owners (8 11 5 null)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			test.dialect, test.tables = conj.MySQL, shop
			if test.cached == nil {
				test.cached = []string{byCode, `SELECT * FROM owners WHERE id = 1`}
			}
			test.run(t)
		})
	}
}
