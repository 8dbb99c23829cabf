package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// checkContext returns the files that .dockerignore lets into the build, by their path from root with slashes, and makes
// a fact of each.
func checkContext(root string, known *facts, wrong *findings) map[string]bool {
	files := map[string]bool{}
	ignore, err := os.Open(filepath.Join(root, ".dockerignore"))
	if err != nil {
		wrong.add(".dockerignore: %v", err)
		return files
	}
	defer ignore.Close()
	patterns, err := ignorefile.ReadAll(ignore)
	if err != nil {
		wrong.add(".dockerignore: %v", err)
		return files
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		wrong.add(".dockerignore: %v", err)
		return files
	}
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil || name == "." {
			return err
		}
		name = filepath.ToSlash(name)
		// A folder that is left out may hold something that is let in again, but only if a pattern names it.
		if entry.IsDir() {
			if !reachable(patterns, name) {
				return filepath.SkipDir
			}
			return nil
		}
		ignored, err := matcher.MatchesOrParentMatches(name)
		if err == nil && !ignored {
			files[name] = true
			known.add("context", name)
		}
		return err
	})
	if err != nil {
		wrong.add("the build context: %v", err)
	}
	for name := range files {
		base := filepath.Base(name)
		if strings.HasPrefix(base, ".env") || base == "breakdown.toml" || strings.HasPrefix(name, "target/") || strings.HasPrefix(name, ".git/") {
			wrong.add(".dockerignore lets %s into the build", name)
		}
	}
	return files
}

// reachable says whether a pattern that lets something in ("!…") names the folder, something below it, or a folder above.
func reachable(patterns []string, folder string) bool {
	for _, pattern := range patterns {
		name, lets := strings.CutPrefix(pattern, "!")
		if !lets {
			continue
		}
		name = strings.Trim(name, "/")
		if strings.HasPrefix(name+"/", folder+"/") || strings.HasPrefix(folder+"/", name+"/") || strings.ContainsAny(name, "*?[") {
			return true
		}
	}
	// Without "everything" at the top, folders are in until a pattern puts them out.
	for _, pattern := range patterns {
		if pattern == "*" || pattern == "**" {
			return false
		}
	}
	return true
}
