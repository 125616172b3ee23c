"""The well-known models that Replicate offers here, with their published inputs.

Bounds: each model's `openapi_schema`, January to July 2025.
"""

from infra.local.simulator.schemas import IMAGE, PROMPT, SECRET, SEED, URI, Model, choice, flag, integer, number, text

ASPECT_RATIOS = ("1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21")
ASPECT_RATIO = choice("1:1", order=ASPECT_RATIOS)
MATCHING_RATIO = choice("match_input_image", *ASPECT_RATIOS)
PRO_RATIO = choice("1:1", order=("custom", "1:1", "16:9", "3:2", "2:3", "4:5", "5:4", "9:16", "3:4", "4:3"))

OUTPUT = {
    "output_format": choice("webp", "jpg", "png"),
    "output_quality": integer(0, 100, 80),
    "disable_safety_checker": flag(default=False),
    "seed": SEED,
}
FORMAT_JPG = choice("jpg", order=("jpg", "png"))
FORMAT_PNG = choice("png", order=("jpg", "png"))

SCHNELL = {
    "prompt": PROMPT,
    "aspect_ratio": ASPECT_RATIO,
    "num_outputs": integer(1, 4, 1),
    "num_inference_steps": integer(1, 4, 4),
    "go_fast": flag(default=True),
    "megapixels": choice("1", "0.25"),
    **OUTPUT,
}
DEV = {
    **SCHNELL,
    "image": URI,
    "prompt_strength": number(0, 1, 0.8),
    "num_inference_steps": integer(1, 50, 28),
    "guidance": number(0, 10, 3),
}
LORA = {"lora_weights": text(), "lora_scale": number(-1, 3, 1)}
EXTRA_LORA = {"extra_lora": text(), "extra_lora_scale": number(-1, 3, 1)}
KONTEXT = {"prompt": PROMPT, "input_image": URI, "aspect_ratio": MATCHING_RATIO, "seed": SEED}
KONTEXT_PRO = {
    **KONTEXT,
    "prompt_upsampling": flag(default=False),
    "output_format": FORMAT_PNG,
    "safety_tolerance": integer(0, 6, 2),
}
SCHEDULERS = (
    "DDIM",
    "DPMSolverMultistep",
    "HeunDiscrete",
    "KarrasDPM",
    "K_EULER_ANCESTRAL",
    "K_EULER",
    "PNDM",
)

FLUX_LORA = Model(
    name="simulated-user/flux-lora",
    inputs={
        **{name: field for name, field in DEV.items() if name != "guidance"},
        "mask": URI,
        "aspect_ratio": choice("1:1", order=(*ASPECT_RATIOS, "custom")),
        "width": integer(256, 1440),
        "height": integer(256, 1440),
        "model": choice("dev", "schnell"),
        "guidance_scale": number(0, 10, 3),
        "go_fast": flag(default=False),
        "replicate_weights": text(),
        "lora_scale": LORA["lora_scale"],
        **EXTRA_LORA,
    },
    official=False,
)

MODELS = (
    Model(name="black-forest-labs/flux-schnell", inputs=SCHNELL),
    Model(name="black-forest-labs/flux-dev", inputs=DEV),
    Model(
        name="black-forest-labs/flux-dev-lora",
        inputs={**DEV, **LORA, **EXTRA_LORA, "hf_api_token": SECRET, "civitai_api_token": SECRET},
    ),
    Model(name="black-forest-labs/flux-schnell-lora", inputs={**SCHNELL, **LORA}),
    Model(
        name="black-forest-labs/flux-1.1-pro",
        inputs={
            "prompt": PROMPT,
            "image_prompt": URI,
            "aspect_ratio": PRO_RATIO,
            "width": integer(256, 1440),
            "height": integer(256, 1440),
            "safety_tolerance": integer(1, 6, 2),
            "seed": SEED,
            "prompt_upsampling": flag(default=False),
            "output_format": OUTPUT["output_format"],
            "output_quality": OUTPUT["output_quality"],
        },
        output=IMAGE,
    ),
    Model(
        name="black-forest-labs/flux-1.1-pro-ultra",
        inputs={
            "prompt": PROMPT,
            "image_prompt": URI,
            "image_prompt_strength": number(0, 1, 0.1),
            "aspect_ratio": ASPECT_RATIO,
            "safety_tolerance": integer(1, 6, 2),
            "seed": SEED,
            "raw": flag(default=False),
            "output_format": FORMAT_JPG,
        },
        output=IMAGE,
    ),
    Model(name="black-forest-labs/flux-kontext-pro", inputs=KONTEXT_PRO, output=IMAGE),
    Model(name="black-forest-labs/flux-kontext-max", inputs=KONTEXT_PRO, output=IMAGE),
    Model(
        name="black-forest-labs/flux-kontext-dev",
        inputs={
            **KONTEXT,
            "num_inference_steps": integer(4, 50, 30),
            "guidance": number(0, 10, 2.5),
            "go_fast": flag(default=True),
            **OUTPUT,
        },
        output=IMAGE,
    ),
    Model(
        name="stability-ai/sdxl",
        inputs={
            "prompt": text("An astronaut riding a rainbow unicorn"),
            "negative_prompt": text(""),
            "image": URI,
            "mask": URI,
            "width": integer(default=1024),
            "height": integer(default=1024),
            "num_outputs": integer(1, 4, 1),
            "scheduler": choice("K_EULER", order=SCHEDULERS),
            "num_inference_steps": integer(1, 500, 50),
            "guidance_scale": number(1, 50, 7.5),
            "prompt_strength": number(0, 1, 0.8),
            "seed": SEED,
            "refine": choice("no_refiner", "expert_ensemble_refiner", "base_image_refiner"),
            "high_noise_frac": number(0, 1, 0.8),
            "refine_steps": integer(),
            "apply_watermark": flag(default=True),
            "lora_scale": number(0, 1, 0.6),
            "replicate_weights": text(),
            "disable_safety_checker": flag(default=False),
        },
        official=False,
        all_unsafe="NSFW content detected. Try running it again, or try a different prompt.",
    ),
    FLUX_LORA,
)
