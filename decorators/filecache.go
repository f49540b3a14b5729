package decorators

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// ErrUnsafeDirectory is wrapped by the errors of a FileCache whose directory other
// users can write to, or that is a link. The message names the directory and says
// what to do.
var ErrUnsafeDirectory = errors.New("decorators: file cache: unsafe directory")

// FileCache is a Cache in a directory, which processes of one user on one machine
// may share.
//
// Each value is a file, named by a digest of its key. A writer makes a file of
// its own and renames it, so that readers see the old value or the new one, and
// concurrent writers do each other no harm. Files are not synced to the disk:
// one that a crash of the machine has torn fails its checksum and is a miss.
// Expired files are misses and stay until Clean removes them; call it now and
// then.
//
// What is in the directory is served, so nobody else may write there. On Unix the
// directory and what is in it must belong to the program's user or to root, and
// must not be writable by the group or by all. Links are not followed, nor are
// files that are no regular ones read. On other systems the directory's access
// list is yours to set.
type FileCache struct {
	names
	dir string
	now func() time.Time
}

var (
	_ Cache   = (*FileCache)(nil)
	_ claimer = (*FileCache)(nil)
)

// NewFileCache returns the cache in a directory, which it makes, for this user
// only, if there is none. It returns an error that wraps ErrUnsafeDirectory for a
// directory that other users can write to, and for a link to one.
func NewFileCache(dir string) (*FileCache, error) {
	if dir == "" {
		return nil, fmt.Errorf("%w: file cache: the directory is empty: name one", ErrOption)
	}
	dir, err := filepath.Abs(dir) // whatever the program's directory is later
	if err != nil {
		return nil, fmt.Errorf("decorators: file cache: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("decorators: file cache: %w", err)
	}
	c := &FileCache{dir: dir, now: time.Now}
	root, err := c.open()
	if err != nil {
		return nil, err
	}
	return c, root.Close()
}

// open opens the directory, if it is safe. It is opened for each operation, since
// it may be removed and made anew while the program runs. The files below are
// then named relative to what was checked.
func (c *FileCache) open() (*os.Root, error) {
	link, err := os.Lstat(c.dir)
	if err != nil {
		return nil, fmt.Errorf("decorators: file cache: %w", err)
	}
	root, err := os.OpenRoot(c.dir)
	if err != nil {
		return nil, fmt.Errorf("decorators: file cache: %w", err)
	}
	opened, err := root.Stat(".")
	switch {
	case err != nil:
		err = fmt.Errorf("decorators: file cache: %w", err)
	case !os.SameFile(link, opened):
		err = fmt.Errorf("%w: %s: it is a link: name the directory that it leads to", ErrUnsafeDirectory, c.dir)
	default:
		if unsafe := checkAccess(opened); unsafe != nil {
			err = fmt.Errorf("%w: %s: %w", ErrUnsafeDirectory, c.dir, unsafe)
		}
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return root, nil
}

// openOrMake is open for a writer.
func (c *FileCache) openOrMake() (*os.Root, error) {
	root, err := c.open()
	if !errors.Is(err, fs.ErrNotExist) {
		return root, err
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, fmt.Errorf("decorators: file cache: %w", err)
	}
	return c.open()
}

// A file is a sealed value: the expiry in nanoseconds since 1970 (zero is never),
// and what was stored.
const (
	filePlace      = "file"
	expirySize     = 8
	fileHeaderSize = sealSize + expirySize
	tempPrefix     = ".new-"
	// staleTemp is the age at which a temporary file has surely been left
	// behind by a crash.
	staleTemp = time.Hour
)

// Get implements Cache. A file that is damaged is a miss, and so is one that
// another user may have written.
func (c *FileCache) Get(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	root, err := c.open()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, ErrMiss
	case err != nil:
		return nil, err
	}
	defer root.Close()
	content, err := readFile(root, fileName(key))
	switch {
	case errors.Is(err, errNoFile):
		return nil, ErrMiss
	case err != nil:
		return nil, fmt.Errorf("decorators: file cache: get: %w", err)
	}
	value, expiry, ok := parseFile(key, content)
	if !ok || expired(expiry, c.now()) {
		return nil, ErrMiss
	}
	return value, nil
}

// errNoFile says that there is no file of this cache's making.
var errNoFile = errors.New("no file")

// readFile reads a regular file that is safe, in a directory that is.
func readFile(root *os.Root, name string) ([]byte, error) {
	if err := lookAt(root, filepath.Dir(name), fs.ModeDir); err != nil {
		return nil, err
	}
	f, err := openFile(root, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// openFile opens a regular file that is safe. A writer may replace it at any time:
// what was opened is looked at again.
func openFile(root *os.Root, name string) (*os.File, error) {
	if err := lookAt(root, name, 0); err != nil {
		return nil, err
	}
	f, err := root.OpenFile(name, readFlags, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoFile
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		err = checkEntry(info, 0)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// lookAt returns errNoFile where a file or directory of the cache is not there, of
// another kind, or unsafe.
func lookAt(root *os.Root, name string, kind fs.FileMode) error {
	info, err := root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errNoFile
	case err != nil:
		return err
	}
	return checkEntry(info, kind)
}

func checkEntry(info fs.FileInfo, kind fs.FileMode) error {
	if info.Mode().Type() != kind || checkAccess(info) != nil {
		return errNoFile
	}
	return nil
}

// Set implements Cache.
func (c *FileCache) Set(ctx context.Context, key string, value []byte, timeout time.Duration) (err error) {
	if timeout < 0 {
		return errTimeout
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	var expiry int64
	if timeout > 0 {
		expiry = c.now().Add(timeout).UnixNano()
	}
	root, err := c.openOrMake()
	if err != nil {
		return err
	}
	defer root.Close()
	if err := replaceFile(root, fileName(key), makeFile(key, expiry, value)); err != nil {
		return fmt.Errorf("decorators: file cache: set: %w", err)
	}
	return nil
}

// replaceFile writes a file under another name and renames it.
func replaceFile(root *os.Root, name string, content []byte) error {
	f, temp, err := createTemp(root, filepath.Dir(name))
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err == nil {
		err = root.Rename(temp, name)
	}
	if err != nil {
		return errors.Join(err, root.Remove(temp))
	}
	return nil
}

// createTemp makes a temporary file in a shard, which Clean may remove meanwhile.
func createTemp(root *os.Root, shard string) (f *os.File, name string, err error) {
	for range 2 {
		if err = root.MkdirAll(shard, 0o700); err != nil {
			break
		}
		err = lookAt(root, shard, fs.ModeDir)
		if errors.Is(err, errNoFile) { // or removed meanwhile
			err = fmt.Errorf("%w: %s: other users can write to it, or it is no directory: remove it", ErrUnsafeDirectory, filepath.Join(root.Name(), shard))
			continue
		}
		if err != nil {
			break
		}
		name = filepath.Join(shard, tempPrefix+rand.Text())
		f, err = root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return f, name, err
}

// Delete implements Cache.
func (c *FileCache) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	root, err := c.open()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	defer root.Close()
	if err := root.Remove(fileName(key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("decorators: file cache: delete: %w", err)
	}
	return nil
}

// fileName names a key's file: nothing of the key itself gets into the path.
func fileName(key string) string {
	sum := sha256.Sum256([]byte(key))
	name := hex.EncodeToString(sum[:])
	return filepath.Join(name[:2], name[2:])
}

func makeFile(key string, expiry int64, value []byte) []byte {
	return seal(filePlace, key, binary.LittleEndian.AppendUint64(nil, uint64(expiry)), value)
}

func parseFile(key string, content []byte) (value []byte, expiry int64, ok bool) {
	b, ok := unseal(filePlace, key, content)
	if !ok || len(b) < expirySize {
		return nil, 0, false
	}
	return b[expirySize:], int64(binary.LittleEndian.Uint64(b)), true
}

func expired(expiry int64, now time.Time) bool { return expiry != 0 && now.UnixNano() >= expiry }

// Cleaned is what Clean did.
type Cleaned struct {
	// Seen files were looked at, Removed ones deleted; Kept is the size in
	// bytes of those that stayed.
	Seen, Removed int
	Kept          int64
}

// Clean removes expired and damaged files, and what crashes left behind. It
// looks at no more than limit files, beginning anywhere; zero is no limit. It
// reads their headers only. Values that are stored again while they are removed
// may be lost, which is a miss.
func (c *FileCache) Clean(ctx context.Context, limit int) (Cleaned, error) {
	var done Cleaned
	root, err := c.open()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return done, nil
	case err != nil:
		return done, err
	}
	defer root.Close()
	if err := c.clean(ctx, root, limit, &done); err != nil {
		return done, fmt.Errorf("decorators: file cache: clean: %w", err)
	}
	return done, nil
}

func (c *FileCache) clean(ctx context.Context, root *os.Root, limit int, done *Cleaned) error {
	shards, err := readDir(root, ".")
	if err != nil || len(shards) == 0 {
		return err
	}
	first := mathrand.IntN(len(shards))
	for i := range shards {
		shard := shards[(first+i)%len(shards)]
		if !shard.IsDir() || !isHash(shard.Name(), 2) {
			continue // not ours
		}
		if err := c.cleanShard(ctx, root, shard.Name(), limit, done); err != nil {
			return err
		}
		if limit > 0 && done.Seen >= limit {
			break
		}
	}
	return nil
}

func readDir(root *os.Root, name string) ([]fs.DirEntry, error) {
	return fs.ReadDir(root.FS(), filepath.ToSlash(name))
}

func (c *FileCache) cleanShard(ctx context.Context, root *os.Root, shard string, limit int, done *Cleaned) error {
	files, err := readDir(root, shard)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if limit > 0 && done.Seen >= limit {
			return nil
		}
		if !strings.HasPrefix(f.Name(), tempPrefix) && !isHash(f.Name(), 2*sha256.Size-2) {
			continue // not ours
		}
		if err := c.cleanFile(root, filepath.Join(shard, f.Name()), done); err != nil {
			return err
		}
	}
	return nil
}

func (c *FileCache) cleanFile(root *os.Root, name string, done *Cleaned) error {
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // another cleaner or writer was faster
	}
	if err != nil {
		return err
	}
	done.Seen++
	keep, err := c.keep(root, name, info)
	if err != nil {
		return err
	}
	if keep {
		done.Kept += info.Size()
		return nil
	}
	switch err := root.Remove(name); {
	case err == nil:
		done.Removed++
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return nil
}

// isHash reports whether a name is a number of hexadecimal digits as this cache
// writes them, so that a directory of other files given by mistake stays whole.
func isHash(name string, digits int) bool {
	return len(name) == digits && strings.Trim(name, "0123456789abcdef") == ""
}

// keep reports whether a file is of use, or not ours to judge.
func (c *FileCache) keep(root *os.Root, name string, info fs.FileInfo) (bool, error) {
	if !info.Mode().IsRegular() {
		return true, nil
	}
	if strings.HasPrefix(info.Name(), tempPrefix) {
		return c.now().Sub(info.ModTime()) < staleTemp, nil
	}
	f, err := openFile(root, name)
	if errors.Is(err, errNoFile) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	header := make([]byte, fileHeaderSize)
	switch _, err := io.ReadFull(f, header); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return false, nil
	case err != nil:
		return false, err
	}
	expiry := int64(binary.LittleEndian.Uint64(header[sealSize:]))
	return bytes.HasPrefix(header, []byte(sealMagic)) && !expired(expiry, c.now()), nil
}
