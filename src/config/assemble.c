/* Reads every file, lays the documents over one another, then the environment and the command line. */
#include "config/assemble.h"

#include "config/finding.h"

static void lay_over(struct assembly *a, struct node *over, struct findings *findings)
{
    struct node *merged = node_merge(&a->arena, a->root, over);
    if (merged)
        a->root = merged;
    else
        finding_no_memory(findings);
}

static struct source *source_new(struct assembly *a, struct str name, struct str folder,
                                 struct findings *findings)
{
    struct source *source = arena_alloc(&a->arena, sizeof *source);
    if (source)
        *source = (struct source){.name = name, .folder = folder};
    else
        finding_no_memory(findings);
    return source;
}

static void document_add(struct assembly *a, struct node *document, struct findings *findings)
{
    if (document->kind == NODE_MAP)
        lay_over(a, document, findings);
    else if (!node_is_null(document))
        finding_add(findings, SEVERITY_ERROR, document, STR_NONE,
                    "a configuration is a map of sections such as services:");
}

static void file_add(struct assembly *a, const struct config_file *file, struct findings *findings)
{
    struct error error = {0};
    struct str text = STR_NONE;
    struct source *source = source_new(a, file->name, path_folder(file->path), findings);
    if (!source)
        return;
    a->files.items[a->files.count++] = file->path;
    if (file_read(&a->arena, file->path, &text, &error) != OK) {
        struct node at = {.source = source};
        finding_add(findings, SEVERITY_ERROR, &at, STR_NONE, "%s", error_text(&error));
        a->incomplete = true;
        return;
    }
    struct node *documents = yaml_parse(&a->arena, source, text, findings);
    a->incomplete |= !documents;
    for (size_t i = 0; documents && i < documents->count; i++)
        document_add(a, documents->items[i], findings);
}

/* Without any file there is the service that most people have. */
static void built_in_add(struct assembly *a, struct findings *findings)
{
    struct str text = STR("services: {ollama: {base_url: \"http://localhost:11434\"}}");
    struct source *source = source_new(a, STR("built in"), a->folder, findings);
    struct node *documents = source ? yaml_parse(&a->arena, source, text, findings) : NULL;
    if (documents)
        document_add(a, documents->items[0], findings);
}

/* --listen in place of server.listen. */
static void listen_put(struct assembly *a, const struct config_sources *sources, struct findings *findings)
{
    struct source *source = source_new(a, STR("command line"), folder_current(&a->arena), findings);
    struct node *top = node_map(&a->arena, source, 1), *server = node_map(&a->arena, source, 1);
    struct node *list = node_map(&a->arena, source, sources->listen_count);
    struct node *server_key = node_scalar(&a->arena, source, STR("server"));
    struct node *listen_key = node_scalar(&a->arena, source, STR("listen"));
    if (!source || !top || !server || !list || !server_key || !listen_key) {
        finding_no_memory(findings);
        return;
    }
    list->kind = NODE_LIST;
    for (size_t i = 0; i < sources->listen_count; i++)
        if ((list->items[list->count] = node_scalar(&a->arena, source, str_from_c(sources->listen[i]))))
            list->count++;
    node_put(server, listen_key, list);
    node_put(top, server_key, server);
    lay_over(a, top, findings);
}

static bool files_add_all(struct assembly *a, const struct config_sources *sources, struct findings *findings)
{
    struct config_files files = {0};
    struct error error = {0};
    if (files_choose(&a->arena, sources, &files, &error) != OK) {
        finding_add(findings, SEVERITY_ERROR, NULL, STR_NONE, "%s", error_text(&error));
        return false;
    }
    a->files.items = arena_alloc(&a->arena, files.count * sizeof(struct str) + 1);
    a->folder = folder_current(&a->arena);
    if (files.count)
        a->folder = path_folder(files.list[files.main < files.count ? files.main : 0].path);
    if (!a->files.items) {
        finding_no_memory(findings);
        return false;
    }
    for (size_t i = 0; i < files.count; i++)
        file_add(a, &files.list[i], findings);
    if (files.count == 0)
        built_in_add(a, findings);
    return true;
}

bool assemble(const struct config_sources *sources, struct assembly *a, struct findings *findings)
{
    static const struct source nowhere = {.name = STR("built in")};
    size_t errors = findings->errors;
    *a = (struct assembly){.variables = {sources->environment, sources->executable}};
    a->root = node_map(&a->arena, &nowhere, 0);
    if (!a->root) {
        finding_no_memory(findings);
        return false;
    }
    if (files_add_all(a, sources, findings)) {
        struct node *environment = environment_tree(&a->arena, &a->variables, a->root, a->folder, findings);
        if (environment)
            lay_over(a, environment, findings);
        if (sources->listen_count)
            listen_put(a, sources, findings);
    }
    return findings->errors == errors;
}

void assembly_free(struct assembly *a)
{
    arena_free(&a->arena);
    *a = (struct assembly){0};
}
