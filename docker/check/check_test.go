package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var repository = filepath.Join("..", "..")

// copyOf copies what the check reads to a folder of its own, with one piece of one file replaced.
func copyOf(t *testing.T, file, old, new string) string {
	t.Helper()
	root := t.TempDir()
	replaced := file == ""
	for _, name := range []string{
		".dockerignore", "Cargo.toml", "LICENSE",
		"docker/Dockerfile", "docker/compose.yaml", "docker/healthcheck.sh", "docker/topics.sh",
	} {
		text, err := os.ReadFile(filepath.Join(repository, name))
		if err != nil {
			t.Fatal(err)
		}
		if name == file {
			if !strings.Contains(string(text), old) {
				t.Fatalf("%s does not say %q any more", file, old)
			}
			text = []byte(strings.Replace(string(text), old, new, 1))
			replaced = true
		}
		to := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if !replaced {
		t.Fatalf("%s is not copied", file)
	}
	return root
}

func TestTheFilesAreFine(t *testing.T) {
	if _, wrong := check(context.Background(), copyOf(t, "", "", "")); len(wrong) > 0 {
		t.Fatal(strings.Join(wrong, "\n"))
	}
}

func TestEachMistakeIsFound(t *testing.T) {
	const compose, dockerfile, ignore = "docker/compose.yaml", "docker/Dockerfile", ".dockerignore"
	for name, mistake := range map[string]struct{ file, old, new, want string }{
		"unknown key":           {compose, "stop_grace_period: 60s", "stop_grace: 60s", "stop_grace"},
		"wrong type":            {compose, "retries: 12", "retries: many", "retries"},
		"no YAML":               {compose, "services:\n", "services: [\n", "yaml"},
		"unknown service":       {compose, "calendar-mock: { condition", "calendar: { condition", "calendar"},
		"circle":                {compose, "    entrypoint: [\"/bin/sh\", \"/topics.sh\"]", "    links: [webhooks]\n    entrypoint: [\"/bin/sh\", \"/topics.sh\"]", "cycle"},
		"never completes":       {compose, "restart: \"no\"", "restart: always", "which is restarted"},
		"no health check":       {compose, "      test: [\"CMD\", \"breakdown-health\", \"/health/live\"]", "      disable: true", "no health check of ours"},
		"open to the world":     {compose, "127.0.0.1:7000:7000", "7000:7000", "beyond loopback"},
		"unexposed port":        {compose, "127.0.0.1:7000:7000", "127.0.0.1:7000:7001", "does not expose"},
		"wrong broker":          {compose, "REDPANDA_BROKERS: redpanda:9092", "REDPANDA_BROKERS: redpanda:9093", "does not listen"},
		"wrong host":            {compose, "http://calendar-mock:7300", "http://calendar:7300", "no service calendar"},
		"floating image":        {compose, "redpandadata/console:v3.11.0", "redpandadata/console:latest", "no fixed version"},
		"missing mount":         {compose, "./topics.sh:", "./topic.sh:", "not there"},
		"a secret is required":  {compose, "${JIRA_WEBHOOK_SECRET:-}", "${JIRA_WEBHOOK_SECRET:?}", "JIRA_WEBHOOK_SECRET"},
		"writable root":         {compose, "read_only: true", "read_only: false", "are open"},
		"two builders":          {compose, "    command: [\"serve\", \"--roles\", \"gateway\"]", "    build: ..\n    command: [\"serve\", \"--roles\", \"gateway\"]", "services build"},
		"unknown instruction":   {dockerfile, "WORKDIR /src", "WORKDIRS /src", "WORKDIRS"},
		"unknown flag":          {dockerfile, "COPY --chmod=0755", "COPY --chmode=0755", "chmode"},
		"bad mount":             {dockerfile, "type=cache,id", "type=cash,id", "cash"},
		"unknown stage":         {dockerfile, "--from=build", "--from=builder", "no stage above"},
		"missing source":        {dockerfile, "COPY LICENSE", "COPY LICENCE", "LICENCE"},
		"root":                  {dockerfile, "USER 10001:10001", "USER root", "USER"},
		"shell as process one":  {dockerfile, "ENTRYPOINT [\"breakdown\"]", "ENTRYPOINT breakdown", "shell"},
		"loopback in the image": {dockerfile, "ADMIN_LISTEN=0.0.0.0", "ADMIN_LISTEN=127.0.0.1", "not on all addresses"},
		"lint":                  {dockerfile, "AS build", "as build", "FromAsCasing"},
		"left out":              {ignore, "!/docker/healthcheck.sh", "", "healthcheck.sh"},
	} {
		t.Run(name, func(t *testing.T) {
			_, wrong := check(context.Background(), copyOf(t, mistake.file, mistake.old, mistake.new))
			if all := strings.Join(wrong, "\n"); !strings.Contains(all, mistake.want) {
				t.Errorf("want %q among:\n%s", mistake.want, all)
			}
		})
	}
}

func TestSecretsStayOutOfTheBuild(t *testing.T) {
	root := copyOf(t, ".dockerignore", "*\n", "/target\n")
	if err := os.WriteFile(filepath.Join(root, "breakdown.toml"), []byte("[github]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, wrong := check(context.Background(), root); !strings.Contains(strings.Join(wrong, "\n"), "lets breakdown.toml into") {
		t.Fatal(wrong)
	}
}
