// Package modproxy makes a module proxy of a checkout: a directory that serves
// this repository's modules as a proxy would after a release. It is for the tests
// of the installation and for tidying the modules' requirements of each other,
// which name versions that no proxy has before they are released.
package modproxy

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// Module is a module of the checkout.
type Module struct {
	Path string
	Dir  string // relative to the checkout, "." for the root
	Mod  *modfile.File
}

// Modules returns the modules that go.work in root lists, in its order.
func Modules(root string) ([]Module, error) {
	path := filepath.Join(root, "go.work")
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("modproxy: %w", err)
	}
	work, err := modfile.ParseWork(path, text, nil)
	if err != nil {
		return nil, fmt.Errorf("modproxy: %w", err)
	}
	var all []Module
	for _, use := range work.Use {
		path := filepath.Join(root, use.Path, "go.mod")
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("modproxy: %w", err)
		}
		mod, err := modfile.Parse(path, text, nil)
		if err != nil {
			return nil, fmt.Errorf("modproxy: %w", err)
		}
		all = append(all, Module{Path: mod.Module.Mod.Path, Dir: filepath.Clean(use.Path), Mod: mod})
	}
	return all, nil
}

// Write makes dir a proxy (GOPROXY=file://dir) that has all modules of the
// checkout in root as version, files that are not committed included.
func Write(dir, root, version string) error {
	modules, err := Modules(root)
	if err != nil {
		return err
	}
	for _, m := range modules {
		if err := write(dir, root, version, m); err != nil {
			return fmt.Errorf("modproxy: %s: %w", m.Path, err)
		}
	}
	return nil
}

func write(dir, root, version string, m Module) error {
	escaped, err := module.EscapePath(m.Path)
	if err != nil {
		return err
	}
	dir = filepath.Join(dir, filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	source := filepath.Join(root, m.Dir)
	mod, err := os.ReadFile(filepath.Join(source, "go.mod"))
	if err != nil {
		return err
	}
	info, err := json.Marshal(map[string]any{"Version": version, "Time": time.Unix(0, 0).UTC()})
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{"list": []byte(version + "\n"), version + ".info": info, version + ".mod": mod} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	files, err := filesOf(source)
	if err != nil {
		return err
	}
	archive, err := os.Create(filepath.Join(dir, version+".zip"))
	if err != nil {
		return err
	}
	defer archive.Close()
	if err := zip.Create(archive, module.Version{Path: m.Path, Version: version}, files); err != nil {
		return err
	}
	return archive.Close()
}

// filesOf lists a module's files: not those of the modules below it, nor what is
// hidden or built.
func filesOf(root string) ([]zip.File, error) {
	var files []zip.File
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path == root:
			return nil
		case entry.IsDir():
			if strings.HasPrefix(entry.Name(), ".") || entry.Name() == "bin" {
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil {
				return filepath.SkipDir
			}
			return nil
		case !entry.Type().IsRegular():
			return nil
		}
		inside, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		files = append(files, file{inside: filepath.ToSlash(inside), path: path})
		return nil
	})
	return files, err
}

// file is a zip.File.
type file struct{ inside, path string }

func (f file) Path() string                 { return f.inside }
func (f file) Lstat() (fs.FileInfo, error)  { return os.Lstat(f.path) }
func (f file) Open() (io.ReadCloser, error) { return os.Open(f.path) }
