package testdb

import (
	"fmt"
	"strconv"
	"strings"

	"gorm.io/gorm"
)

// LogPlace returns a position in a database's log, as followers tell it, as a number
// that grows; 0 if there is none.
func LogPlace(position string) uint64 {
	if high, low, ok := strings.Cut(position, "/"); ok { // PostgreSQL's
		h, _ := strconv.ParseUint(high, 16, 32)
		l, _ := strconv.ParseUint(low, 16, 32)
		return h<<32 | l
	}
	file, at, _ := strings.Cut(position, ":")
	n, _ := strconv.ParseUint(file[strings.LastIndexByte(file, '.')+1:], 10, 32)
	l, _ := strconv.ParseUint(at, 10, 32)
	return n<<32 | l
}

// LogEnd returns a place in a database's log behind all that has been committed.
func LogEnd(db *gorm.DB) (uint64, error) {
	if db.Name() == "postgres" {
		var at string
		err := db.Raw("SELECT pg_current_wal_insert_lsn()::text").Scan(&at).Error
		return LogPlace(at), err
	}
	var file, ignored string
	var at int64
	err := db.Raw("SHOW MASTER STATUS").Row().Scan(&file, &at, &ignored, &ignored)
	return LogPlace(fmt.Sprintf("%s:%d", file, at)), err
}
