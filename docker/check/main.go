// Command check reads docker/compose.yaml, docker/Dockerfile and .dockerignore as Docker would, with Docker's own
// libraries, and holds them against each other. No engine is needed.
//
//	check ROOT FACTS
//
// ROOT is the repository. What it finds wrong goes to standard error, a line each, and makes it exit 1. What
// scripts/check-docker.sh needs to go on goes to the file FACTS, tab-separated: the kind of fact, then its fields.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
)

// findings collects everything that is wrong, so that one run shows it all.
type findings []string

func (f *findings) add(format string, args ...any) {
	*f = append(*f, fmt.Sprintf(format, args...))
}

// facts are lines for the script.
type facts []string

func (f *facts) add(fields ...string) {
	*f = append(*f, strings.Join(fields, "\t"))
}

func check(ctx context.Context, root string) (facts, findings) {
	var known facts
	var wrong findings
	files := checkContext(root, &known, &wrong)
	image := checkDockerfile(root, files, &known, &wrong)
	checkCompose(ctx, root, image, &known, &wrong)
	return known, wrong
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: check ROOT FACTS")
		os.Exit(2)
	}
	known, wrong := check(context.Background(), os.Args[1])
	for _, finding := range wrong {
		fmt.Fprintln(os.Stderr, finding)
	}
	if err := os.WriteFile(os.Args[2], []byte(strings.Join(known, "\n")+"\n"), 0o644); err != nil {
		wrong.add("%v", err)
		fmt.Fprintln(os.Stderr, err)
	}
	if len(wrong) > 0 {
		os.Exit(1)
	}
}
