package catalog

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
)

func TestTextOfAConnectionThatLosesCharactersIsUnreadable(t *testing.T) {
	t.Parallel()
	utf8mb4 := mysqlConnection{"utf8mb4", "utf8mb4", "utf8mb4"}
	utf8mb3 := mysqlConnection{"utf8mb3", "utf8mb3", "utf8mb3"}
	latin1 := mysqlConnection{"utf8mb4", "utf8mb4", "latin1"}
	for _, test := range []struct {
		collation string
		conn      mysqlConnection
		want      conj.Kind
	}{
		{"utf8mb4_general_ci", utf8mb4, conj.FoldedText},
		{"utf8mb4_0900_ai_ci", utf8mb4, conj.FoldedText},
		{"utf8mb4_general_ci", utf8mb3, conj.Unreadable},
		{"utf8mb4_general_ci", latin1, conj.Unreadable},
		{"utf8_general_ci", utf8mb3, conj.FoldedText},
		{"utf8mb3_general_ci", latin1, conj.Unreadable},
		{"latin1_swedish_ci", utf8mb3, conj.FoldedText},
		{"utf8mb4_bin", utf8mb4, conj.PaddedText},
		{"utf8_bin", utf8mb4, conj.PaddedText},
		{"utf8mb3_bin", utf8mb3, conj.Unreadable},
		{"utf8mb4_turkish_ci", utf8mb4, conj.Opaque},
		{"utf8mb4_de_pb_0900_ai_ci", utf8mb4, conj.Opaque},
		{"latin1_german1_ci", latin1, conj.Opaque},
		{"", utf8mb4, conj.Opaque},
	} {
		require.Equal(t, test.want, mysqlText(test.collation, test.conn), "%s %v", test.collation, test.conn)
	}
	require.Equal(t, conj.Text, postgresKind("text", "b", true, true, "UTF8"))
	require.Equal(t, conj.Unreadable, postgresKind("text", "b", true, true, "LATIN1"))
	require.Equal(t, conj.Opaque, postgresKind("text", "b", true, false, "UTF8"))
}

func TestCascadesReachTransitively(t *testing.T) {
	t.Parallel()
	key := func(parent, child string, onDelete, onUpdate Action) keyColumn {
		return keyColumn{constraint: parent + child, parent: parent, column: "id", child: Ref{ID: child}, onDelete: onDelete, onUpdate: onUpdate}
	}
	keys := newForeignKeys([]keyColumn{
		key("a", "b", Cascade, Cascade),
		key("b", "c", SetNull, Refuse),
		key("c", "d", Cascade, SetDefault),
		key("d", "b", Refuse, Cascade),
		key("a", "refused", Refuse, Refuse),
		key("self", "self", Cascade, Refuse),
	})
	ids := func(refs []Ref) (ids []string) {
		for _, r := range refs {
			ids = append(ids, r.ID)
		}
		return ids
	}
	require.Equal(t, []string{"b", "c", "d"}, ids(keys.reach("a", true)))
	require.Equal(t, []string{"b"}, ids(keys.reach("a", false)), "an update of b's key does nothing to c")
	require.Equal(t, []string{"self"}, ids(keys.reach("self", true)))
	require.Empty(t, keys.reach("none", true))
	require.Equal(t, []string{"b", "c", "d", "refused"}, ids(keys.referencing("a")))
	require.Len(t, keys.acting("a"), 1)

	require.True(t, keys.refersTo("a", "ID"))
	require.False(t, keys.refersTo("a", "name"))
	require.False(t, keys.refersTo("b", "id"), "acts on DELETE only")
}

func TestGrantsOfTriggersByPattern(t *testing.T) {
	t.Parallel()
	for object, covers := range map[string]bool{
		"*": true, "`app\\_1`": true, "`app_1`": true, "`app%`": true, "`APP_1`": false, "`ap`": false, "`app\\%`": false, "`%1`": true, "`a.*`": false,
	} {
		require.Equal(t, covers, mysqlGrantCovers(object, "app_1", true), object)
	}
	require.False(t, mysqlGrantCovers("`app_1`", "appx1", false))
	require.True(t, mysqlTriggerPrivilege("SELECT, TRIGGER"))
	require.False(t, mysqlTriggerPrivilege("SELECT, INSERT (`TRIGGER`)"))
}
