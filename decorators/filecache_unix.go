//go:build unix

package decorators

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// readFlags keep a link that takes a file's place meanwhile from being followed,
// and a pipe from being waited for.
const readFlags = os.O_RDONLY | syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// writableByOthers are the permissions that nothing in the cache may have.
const writableByOthers fs.FileMode = 0o022

// checkAccess returns an error where another user may have written: what he
// writes would be served.
func checkAccess(info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&writableByOthers != 0 {
		return fmt.Errorf("its mode %#o lets other users write: run chmod go-w on it, or name a directory below it that is not there yet", mode)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("its owner can't be told")
	}
	// Root may change every file anyway.
	if us := os.Geteuid(); int(stat.Uid) != us && stat.Uid != 0 {
		return fmt.Errorf("it belongs to user %d, and this program runs as user %d: run chown on it, or run the program as its owner", stat.Uid, us)
	}
	return nil
}
