package main

import (
	"bytes"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// image is what the Dockerfile's last stage promises.
type image struct {
	ports       []string
	environment map[string]string
}

// checkDockerfile parses the Dockerfile with BuildKit's parser and linter, and holds it to the build context.
func checkDockerfile(root string, files map[string]bool, known *facts, wrong *findings) image {
	made := image{environment: map[string]string{}}
	text, err := os.ReadFile(filepath.Join(root, "docker", "Dockerfile"))
	if err != nil {
		wrong.add("docker/Dockerfile: %v", err)
		return made
	}
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		wrong.add("docker/Dockerfile: %v", err)
		return made
	}
	for _, warning := range parsed.Warnings {
		wrong.add("docker/Dockerfile: %s", warning.Short)
	}
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, message string, at []parser.Range) {
		line := 0
		if len(at) > 0 {
			line = at[0].Start.Line
		}
		wrong.add("docker/Dockerfile:%d: %s: %s", line, rule, message)
	}})
	stages, _, err := instructions.Parse(parsed.AST, lint)
	if err != nil || len(stages) == 0 {
		wrong.add("docker/Dockerfile: no stages: %v", err)
		return made
	}
	names := []string{}
	for _, stage := range stages {
		if tagged := regexp.MustCompile(`^[a-z0-9./-]+:[a-z0-9][a-z0-9.-]*$`); !tagged.MatchString(stage.BaseName) {
			wrong.add("docker/Dockerfile: %q is no image with a tag", stage.BaseName)
		}
		known.add("image", stage.BaseName)
		for _, command := range stage.Commands {
			switch command := command.(type) {
			case *instructions.CopyCommand:
				checkCopy(command, names, files, wrong)
			case *instructions.RunCommand:
				// Mounts are only parsed once variables are filled in; ours have none.
				if err := command.Expand(func(word string) (string, error) { return word, nil }); err != nil {
					wrong.add("docker/Dockerfile: %v", err)
				}
				runFacts(strings.Join(command.CmdLine, " "), known)
			}
		}
		names = append(names, stage.Name)
	}
	checkResult(stages[len(stages)-1], &made, wrong)
	for name := range made.environment {
		known.add("variable", "docker/Dockerfile", name)
	}
	return made
}

func checkCopy(command *instructions.CopyCommand, stages []string, files map[string]bool, wrong *findings) {
	if command.From != "" {
		if !slices.Contains(stages, command.From) {
			wrong.add("docker/Dockerfile: COPY --from=%s: no stage above has this name", command.From)
		}
		return
	}
	for _, source := range command.SourcePaths {
		source = strings.Trim(path.Clean(source), "/")
		found := source == "." && len(files) > 0
		for file := range files {
			found = found || file == source || strings.HasPrefix(file, source+"/")
		}
		if !found {
			wrong.add("docker/Dockerfile: COPY %s: not there, or left out by .dockerignore", source)
		}
	}
}

// runFacts tells the script what a RUN wants: its text, the packages it installs, the programs it builds.
func runFacts(script string, known *facts) {
	known.add("run", script)
	for _, part := range strings.Split(script, "&&") {
		words := strings.Fields(part)
		if len(words) > 2 && words[0] == "apt-get" && words[1] == "install" {
			for _, word := range words[2:] {
				if !strings.HasPrefix(word, "-") {
					known.add("package", word)
				}
			}
		}
		for i, word := range words {
			if word == "--bin" && i+1 < len(words) {
				known.add("program", words[i+1])
			}
		}
	}
}

func checkResult(stage instructions.Stage, made *image, wrong *findings) {
	var user, signal string
	var entrypoint, health []string
	for _, command := range stage.Commands {
		switch command := command.(type) {
		case *instructions.UserCommand:
			user = command.User
		case *instructions.StopSignalCommand:
			signal = command.Signal
		case *instructions.EntrypointCommand:
			entrypoint = command.CmdLine
			if command.PrependShell {
				wrong.add("docker/Dockerfile: ENTRYPOINT goes through a shell, which keeps SIGTERM to itself")
			}
		case *instructions.HealthCheckCommand:
			health = command.Health.Test
		case *instructions.ExposeCommand:
			made.ports = append(made.ports, command.Ports...)
		case *instructions.EnvCommand:
			for _, pair := range command.Env {
				made.environment[pair.Key] = pair.Value
			}
		}
	}
	// A number, so that an orchestrator can tell without the image's passwd that it is not root.
	if numeric := regexp.MustCompile(`^[1-9][0-9]*:[1-9][0-9]*$`); !numeric.MatchString(user) {
		wrong.add("docker/Dockerfile: USER %q is not a uid:gid other than root's", user)
	}
	if signal != "SIGTERM" {
		wrong.add("docker/Dockerfile: STOPSIGNAL %q, not SIGTERM", signal)
	}
	if !slices.Equal(entrypoint, []string{"breakdown"}) {
		wrong.add("docker/Dockerfile: ENTRYPOINT %v, not breakdown", entrypoint)
	}
	if len(health) == 0 {
		wrong.add("docker/Dockerfile: no HEALTHCHECK")
	}
	for name, value := range made.environment {
		if host, port, found := strings.Cut(value, ":"); strings.HasSuffix(name, "_LISTEN") && (!found || host != "0.0.0.0" || !slices.Contains(made.ports, port)) {
			wrong.add("docker/Dockerfile: %s=%s is not on all addresses, or its port is not EXPOSEd", name, value)
		}
	}
}
